// Package reconcile finds in what two sets of entries differ, without moving
// them: range-based set reconciliation. One side, which asks, walks down to the
// differences; the other answers each request from its view alone.
//
// Entries are known by ids. For each comparison the one that answers picks a
// salt, and each id has a place under it: a keyed hash of 64 bits. All else is
// about places. The fingerprint of a range of places is a sum over them, so with
// sums from the beginning on that of any range costs two searches; where
// fingerprints differ a range is split, or the places in it are listed.
//
// Places are spread evenly whatever the ids are, and nobody knows them before the
// salt is told: no choice of entries makes the walk deep, a list long, or two
// ranges alike. Two sets that seem equal by chance, one time in 2^64, do not at
// the next comparison.
//
// Neither side trusts the other. What a request costs is in proportion to it and
// to the entries in its ranges; an answer that was not asked for is an error.
package reconcile

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// ID names the content of an entry: equal entries have equal ids.
type ID = [16]byte

// Set are the ids of the entries that a state has at a moment. It is never
// modified.
type Set struct {
	ids    []ID
	digest uint64
}

// NewSet returns the set of ids, which it does not keep. One that is there twice
// counts once.
func NewSet(ids []ID) *Set {
	ids = slices.Compact(inOrder(ids))
	h, block := sha256.New(), make([]byte, 0, 4096)
	for i := range ids {
		if block = append(block, ids[i][:]...); len(block) == cap(block) {
			h.Write(block)
			block = block[:0]
		}
	}
	h.Write(block)
	return &Set{ids, binary.LittleEndian.Uint64(h.Sum(nil))}
}

// fewInOrder is up to how many ids are put in order one by one.
const fewInOrder = 24

// inOrder returns a copy of ids in their order. Put by the first bits in which they are not
// all alike, hashes are nearly in it.
func inOrder(ids []ID) []ID {
	n := len(ids)
	sorted := make([]ID, n)
	if n == 0 {
		return sorted
	}
	var high, low uint64 // the bits in which ids differ
	first, second := halves(&ids[0])
	for i := range ids {
		h, l := halves(&ids[i])
		high, low = high|(h^first), low|(l^second)
	}
	alike := bits.LeadingZeros64(high)
	if high == 0 {
		alike += bits.LeadingZeros64(low)
	}
	width := bits.Len(uint(n / 4))
	bucket := func(id *ID) uint64 {
		h, l := halves(id)
		if alike < 64 {
			h = h<<alike | l>>(64-alike)
		} else {
			h = l << (alike - 64)
		}
		return h >> (64 - width)
	}
	ends := make([]uint32, 1<<width+1)
	for i := range ids {
		ends[bucket(&ids[i])+1]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	for i := range ids {
		at := &ends[bucket(&ids[i])] // where it begins, and in the end where the next one does
		sorted[*at] = ids[i]
		*at++
	}
	begin := uint32(0)
	for _, end := range ends[:len(ends)-1] {
		if some := sorted[begin:end]; len(some) > fewInOrder {
			slices.SortFunc(some, compare)
		} else {
			for i := 1; i < len(some); i++ {
				for j := i; j > 0 && compare(some[j], some[j-1]) < 0; j-- {
					some[j], some[j-1] = some[j-1], some[j]
				}
			}
		}
		begin = end
	}
	return sorted
}

func halves(id *ID) (high, low uint64) {
	return binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
}

func compare(a, b ID) int {
	ah, al := halves(&a)
	bh, bl := halves(&b)
	if ah != bh {
		return cmp.Compare(ah, bh)
	}
	return cmp.Compare(al, bl)
}

// Len is the number of ids.
func (s *Set) Len() int { return len(s.ids) }

// Digest is the same for equal sets, and by nobody's choice for others.
func (s *Set) Digest() uint64 { return s.digest }

// View is a set under a salt. It is never modified.
type View struct {
	salt   uint64
	set    *Set
	places []uint64 // in order
	at     []uint32 // where in the set the ids of the places are
	sums   []uint64 // of the marks of all places before each, and of all
}

// View returns the set under a salt.
func (s *Set) View(salt uint64) *View {
	n := len(s.ids)
	v := &View{salt: salt, set: s, places: make([]uint64, n), at: make([]uint32, n), sums: make([]uint64, n+1)}
	// Places are spread evenly: put by their first bits, they are nearly in order.
	width := bits.Len(uint(n / 4))
	ends := make([]uint32, 1<<width+1)
	for i := range s.ids {
		ends[place(&s.ids[i], salt)>>(64-width)+1]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	for i := range s.ids {
		p := place(&s.ids[i], salt)
		end := &ends[p>>(64-width)]
		v.places[*end], v.at[*end] = p, uint32(i)
		*end++
	}
	for i := 1; i < n; i++ {
		for j := i; j > 0 && v.places[j] < v.places[j-1]; j-- {
			v.places[j], v.places[j-1] = v.places[j-1], v.places[j]
			v.at[j], v.at[j-1] = v.at[j-1], v.at[j]
		}
	}
	for i, p := range v.places {
		v.sums[i+1] = v.sums[i] + mark(p)
	}
	return v
}

// id is that of a place.
func (v *View) id(i int) ID { return v.set.ids[v.at[i]] }

// place is where an id is under a salt.
func place(id *ID, salt uint64) uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], salt)
	copy(b[8:], id[:])
	return xxhash.Sum64(b[:])
}

// mark is what a place counts for in a fingerprint: in a narrow range the places
// are alike, and their marks are not.
func mark(place uint64) uint64 {
	place ^= place >> 33
	place *= 0xff51afd7ed558ccd
	place ^= place >> 33
	place *= 0xc4ceb9fe1a85ec53
	return place ^ place>>33
}

// Salt is what the view was made with.
func (v *View) Salt() uint64 { return v.salt }

// Len is the number of ids.
func (v *View) Len() int { return len(v.places) }

// Range are the places First to Last, both included.
type Range struct{ First, Last uint64 }

// Everything is the range of all places.
var Everything = Range{0, ^uint64(0)}

// bounds returns which places are in r: from i on, before j.
func (v *View) bounds(r Range) (i, j int) {
	i, _ = slices.BinarySearch(v.places, r.First)
	j, found := slices.BinarySearch(v.places, r.Last)
	for found && j < len(v.places) && v.places[j] == r.Last {
		j++
	}
	return i, max(i, j)
}

// count is how many places are in r.
func (v *View) count(r Range) int {
	i, j := v.bounds(r)
	return j - i
}

// print is the fingerprint of r: 0 where nothing is.
func (v *View) print(r Range) uint64 {
	i, j := v.bounds(r)
	return v.sums[j] - v.sums[i]
}

// split returns r in parts of one size, as many as that or fewer where it is
// narrow; the last may be smaller.
func (r Range) split(parts uint64) []Range {
	if parts == 1 {
		return []Range{r}
	}
	width := (r.Last-r.First)/parts + 1
	all := make([]Range, 0, parts)
	for first := r.First; ; first += width {
		if r.Last-first < width {
			return append(all, Range{first, r.Last})
		}
		all = append(all, Range{first, first + width - 1})
	}
}
