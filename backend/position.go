package backend

import (
	"cmp"
	"iter"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/dgryski/go-rendezvous"
)

// Primary reports whether this node is the one to do what one node of the cluster
// should do: it is at position 0, and Attached. A node that lost the others is
// never primary, even where it became sole member; two nodes can be primary at
// once only while their views differ, for as long as detection takes.
func (v View) Primary() bool { return v.Position == 0 && v.Status == Attached }

// Owner returns the member that should handle key, the same on all nodes whose
// views agree. It is chosen by rendezvous hashing of the members' names: a join
// or a leave moves only the keys of the member that came or went, and a member
// that restarts under its name has its keys again. Of members with one name the
// first in the list owns. Without members it is the zero Member.
//
// It takes time in proportion to the number of members.
func (v View) Owner(key string) Member {
	first := make(map[string]Member, len(v.Members))
	names := make([]string, 0, len(v.Members))
	for _, m := range v.Members {
		if _, ok := first[m.Name]; !ok {
			first[m.Name] = m
			names = append(names, m.Name)
		}
	}
	return first[rendezvous.New(names, xxhash.Sum64String).Lookup(key)]
}

// Owns reports whether this node is the one to handle key: it is the key's Owner,
// and Attached, as with [View.Primary]. A caller that would rather act twice than
// not at all compares Owner with Self.
func (v View) Owns(key string) bool {
	if v.Status != Attached || v.Position >= len(v.Members) {
		return false
	}
	owner, self := v.Owner(key), v.Self()
	return owner.Name == self.Name && owner.Instance == self.Instance
}

// Order yields the members in the order in which they should handle key: its
// [View.Owner], then the one that would be if that left, and so on to the last. It is
// the same on all nodes whose views agree. Of members with one name the first in the
// list comes first.
//
// It takes n log n time for n members.
func (v View) Order(key string) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		order, of := make([]weighed, len(v.Members)), xxhash.Sum64String(key)
		for i, m := range v.Members {
			order[i] = weighed{weight(of ^ xxhash.Sum64String(m.Name)), i}
		}
		slices.SortFunc(order, func(a, b weighed) int {
			return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.at, b.at))
		})
		for _, next := range order {
			if !yield(v.Members[next.at]) {
				return
			}
		}
	}
}

// weighed is a member by its place in the list.
type weighed struct {
	weight uint64
	at     int
}

// weight mixes the hash of a key and a name as package rendezvous does, which has no
// order: of several members it chooses the one of the greatest.
func weight(x uint64) uint64 {
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	return x * 2685821657736338717
}
