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
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"
)

// ID names the content of an entry: equal entries have equal ids.
type ID = [16]byte

// Digest returns a digest of a set of ids, which is the same for equal sets, and by nobody's
// choice for others. It puts ids in order, without those that are there twice: what it
// returns is in their place.
func Digest(ids []ID) (digest uint64, distinct []ID) {
	alike := commonBits(ids)
	inOrderInPlace(ids, 0, func(id ID) uint64 { // hashes are spread evenly by the first bits that differ
		high, low := halves(&id)
		if alike > 64 {
			return low << (alike - 64)
		}
		return high<<alike | low>>(64-alike)
	})
	ids = slices.Compact(ids)
	h, block := sha256.New(), make([]byte, 0, 4096)
	for i := range ids {
		if block = append(block, ids[i][:]...); len(block) == cap(block) {
			h.Write(block)
			block = block[:0]
		}
	}
	h.Write(block)
	return binary.LittleEndian.Uint64(h.Sum(nil)), ids
}

// commonBits is in how many of their first bits all ids are alike.
func commonBits(ids []ID) int {
	if len(ids) == 0 {
		return 0
	}
	var high, low uint64 // the bits in which ids differ
	first, second := halves(&ids[0])
	for i := range ids {
		h, l := halves(&ids[i])
		high, low = high|(h^first), low|(l^second)
	}
	if high == 0 {
		return 64 + bits.LeadingZeros64(low)
	}
	return bits.LeadingZeros64(high)
}

// View is a set of ids under a salt. It is never modified, and has little besides the ids:
// their places are computed when they are looked at.
type View struct {
	salt uint64
	hash salted
	ids  []ID     // in the order of their places
	sums []uint64 // of the marks of all places before each one of sumEvery
}

// sumEvery is for how many places there is one sum.
const sumEvery = 32

// NewView returns the set of ids under a salt. It does not keep ids. One that
// is there twice counts once.
func NewView(ids []ID, salt uint64) *View {
	hash := newSalted(salt)
	all := make([]ID, len(ids))
	inOrder(all, ids, 0, func(id ID) uint64 { return hash.place(&id) })
	ids = slices.Compact(all)
	v := &View{salt: salt, hash: hash, ids: ids, sums: make([]uint64, 0, len(ids)/sumEvery+1)}
	for i, sum := 0, uint64(0); ; i++ {
		if i%sumEvery == 0 {
			v.sums = append(v.sums, sum)
		}
		if i == len(ids) {
			return v
		}
		sum += mark(v.place(i))
	}
}

// place is where the id of that index is.
func (v *View) place(i int) uint64 { return v.hash.place(&v.ids[i]) }

// places returns where the ids from i on are, before j.
func (v *View) places(i, j int) []uint64 {
	all := make([]uint64, 0, j-i)
	for ; i < j; i++ {
		all = append(all, v.place(i))
	}
	return all
}

// sum is that of the marks of all places before the id of that index.
func (v *View) sum(i int) (sum uint64) {
	sum = v.sums[i/sumEvery]
	for at := i - i%sumEvery; at < i; at++ {
		sum += mark(v.place(at))
	}
	return sum
}

// The primes of xxHash.
const (
	prime1 = 0x9e3779b185ebca87
	prime2 = 0xc2b2ae3d27d4eb4f
	prime3 = 0x165667b19e3779f9
	prime4 = 0x85ebca77c2b2ae63
	prime5 = 0x27d4eb2f165667c5
)

// salted is a hash that the salt went into.
type salted uint64

func newSalted(salt uint64) salted { return salted(prime5 + 24).with(salt) }

func (h salted) with(word uint64) salted {
	h ^= salted(bits.RotateLeft64(word*prime2, 31) * prime1)
	return salted(bits.RotateLeft64(uint64(h), 27)*prime1 + prime4)
}

// place is where an id is: the xxHash of the salt and the id. It is computed for each id
// some times in a comparison, and is here since a call for so few bytes takes as long again.
func (h salted) place(id *ID) uint64 {
	h = h.with(binary.LittleEndian.Uint64(id[:8])).with(binary.LittleEndian.Uint64(id[8:]))
	p := uint64(h)
	p ^= p >> 33
	p *= prime2
	p ^= p >> 29
	p *= prime3
	return p ^ p>>32
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
func (v *View) Len() int { return len(v.ids) }

// Range are the places First to Last, both included.
type Range struct{ First, Last uint64 }

// Everything is the range of all places.
var Everything = Range{0, ^uint64(0)}

// bounds returns which ids have places in r: from i on, before j.
func (v *View) bounds(r Range) (i, j int) {
	i = sort.Search(len(v.ids), func(k int) bool { return v.place(k) >= r.First })
	j = i + sort.Search(len(v.ids)-i, func(k int) bool { return v.place(i+k) > r.Last })
	return i, j
}

// count is how many places are in r.
func (v *View) count(r Range) int {
	i, j := v.bounds(r)
	return j - i
}

// print is the fingerprint of r: 0 where nothing is.
func (v *View) print(r Range) uint64 {
	i, j := v.bounds(r)
	return v.sum(j) - v.sum(i)
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
