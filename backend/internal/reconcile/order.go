package reconcile

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

const (
	perBucket  = 4  // about how many ids are put in order by themselves
	fewInOrder = 24 // up to how many of them are one by one

	coarseBits = 6 // of the buckets that ids are put into in place: their beginnings stay in the processor's cache
	coarse     = 1 << coarseBits
)

// inOrder puts ids into to, which has room for them, in the order of their keys, and those
// of one key in their own. Keys are alike in so many of their first bits, and are best
// spread evenly by those that follow: put by them, ids are nearly in order.
func inOrder(to, ids []ID, alike int, key func(ID) uint64) {
	width := bits.Len(uint(len(ids) / perBucket))
	ends := make([]uint32, 1<<width+1)
	for _, id := range ids {
		ends[key(id)<<alike>>(64-width)+1]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	for _, id := range ids {
		at := &ends[key(id)<<alike>>(64-width)] // where it begins, and in the end where the next one does
		to[*at] = id
		*at++
	}
	begin := uint32(0)
	for _, end := range ends[:len(ends)-1] {
		insert(to[begin:end], key)
		begin = end
	}
}

// insert is inOrder of those that are in one bucket, in place.
func insert(ids []ID, key func(ID) uint64) {
	if len(ids) > fewInOrder {
		slices.SortFunc(ids, func(a, b ID) int { return cmp.Or(cmp.Compare(key(a), key(b)), compare(a, b)) })
		return
	}
	var keys [fewInOrder]uint64
	for i, id := range ids {
		k, j := key(id), i
		for ; j > 0 && (k < keys[j-1] || k == keys[j-1] && compare(id, ids[j-1]) < 0); j-- {
			ids[j], keys[j] = ids[j-1], keys[j-1]
		}
		ids[j], keys[j] = id, k
	}
}

// inOrderInPlace is inOrder with a share of the room: ids are put into buckets in place, and
// each of these is put in order by itself. It takes longer.
func inOrderInPlace(ids []ID, alike int, key func(ID) uint64) {
	var next, ends [coarse]int // where what belongs into a bucket is put, and where that ends
	for _, id := range ids {
		ends[key(id)<<alike>>(64-coarseBits)]++
	}
	total, most := 0, 0
	for b, n := range ends {
		next[b] = total
		total += n
		ends[b] = total
		most = max(most, n)
	}
	room, begin := make([]ID, most), 0
	for b, end := range ends {
		for ; next[b] < end; next[b]++ { // what is in the way goes on to its own bucket
			id := ids[next[b]]
			for k := key(id) << alike >> (64 - coarseBits); k != uint64(b); k = key(id) << alike >> (64 - coarseBits) {
				at := &next[k]
				id, ids[*at] = ids[*at], id
				*at++
			}
			ids[next[b]] = id
		}
		inOrder(room, ids[begin:end], alike+coarseBits, key)
		copy(ids[begin:end], room)
		begin = end
	}
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
