package core

import "time"

// kept are the last updates of this node for one key, to be sent again to who
// missed them. Their bytes are in one ring, so that an update costs a copy and
// nothing else.
type kept struct {
	entries []keptEntry // the oldest first
	head    int         // of entries: what is before it is gone
	ring    []byte
	tail    int // where the next bytes go
	size    int // of all that is kept
}

type keptEntry struct {
	number uint64
	since  time.Duration
	at, n  int32  // in ring
	alone  []byte // instead, where it is larger than the ring may be
}

// smallRing is the ring's size at first; it doubles while it is full.
const smallRing = 4 << 10

// add keeps an update, and lets go of those that do not fit beside it. It
// returns by how much the memory has grown.
func (k *kept) add(now time.Duration, number uint64, data []byte) (grown int) {
	before := len(k.ring)
	for len(k.entries)-k.head >= keptItems {
		grown -= k.drop()
	}
	switch {
	case len(data) > keptBytes/4:
		grown += k.addAlone(now, number, data)
	default:
		for k.size+len(data) > len(k.ring) && len(k.ring) < keptBytes {
			k.grow()
		}
		grown += k.addRing(now, number, data)
	}
	return grown + len(k.ring) - before
}

// addAlone keeps one large update with bytes of its own. They are used again by
// the next large one.
func (k *kept) addAlone(now time.Duration, number uint64, data []byte) (grown int) {
	var buf []byte
	for k.head < len(k.entries) && k.size+len(data) > keptBytes {
		if e := k.entries[k.head]; e.alone != nil {
			buf = e.alone
		}
		grown -= k.drop()
	}
	buf = append(buf[:0], data...)
	k.push(keptEntry{number: number, since: now, alone: buf})
	k.size += len(buf)
	return grown + cap(buf)
}

func (k *kept) addRing(now time.Duration, number uint64, data []byte) (grown int) {
	if k.tail+len(data) > len(k.ring) {
		for k.oldestAbove(k.tail) { // what lies there would be skipped
			grown -= k.drop()
		}
		k.tail = 0
	}
	for k.size+len(data) > keptBytes || k.oldestWithin(k.tail, k.tail+len(data)) {
		grown -= k.drop()
	}
	copy(k.ring[k.tail:], data)
	k.push(keptEntry{number: number, since: now, at: int32(k.tail), n: int32(len(data))})
	k.tail += len(data)
	k.size += len(data)
	return grown
}

// oldest returns the first entry in the ring.
func (k *kept) oldest() (e keptEntry, ok bool) {
	for i := k.head; i < len(k.entries); i++ {
		if k.entries[i].alone == nil && k.entries[i].n > 0 {
			return k.entries[i], true
		}
	}
	return e, false
}

func (k *kept) oldestAbove(at int) bool {
	e, ok := k.oldest()
	return ok && int(e.at) >= at && k.head < len(k.entries)
}

func (k *kept) oldestWithin(from, to int) bool {
	e, ok := k.oldest()
	return ok && int(e.at) < to && from < int(e.at+e.n)
}

func (k *kept) push(e keptEntry) {
	if k.head > 64 && k.head > len(k.entries)/2 {
		k.entries = append(k.entries[:0], k.entries[k.head:]...)
		k.head = 0
	}
	k.entries = append(k.entries, e)
}

// drop lets go of the oldest, and returns how much memory that gives back.
func (k *kept) drop() (freed int) {
	e := &k.entries[k.head]
	freed = cap(e.alone)
	k.size -= int(e.n) + len(e.alone)
	*e = keptEntry{}
	k.head++
	return freed
}

// expire lets go of what is kept since before a time, and returns how much memory that
// gives back.
func (k *kept) expire(before time.Duration) (freed int) {
	for k.head < len(k.entries) && k.entries[k.head].since < before {
		freed += k.drop()
	}
	return freed
}

func (k *kept) grow() {
	bigger := kept{ring: make([]byte, min(max(2*len(k.ring), smallRing), keptBytes))}
	for _, e := range k.entries[k.head:] {
		if e.alone != nil {
			bigger.push(e)
			bigger.size += len(e.alone)
			continue
		}
		bigger.addRing(e.since, e.number, k.ring[e.at:e.at+e.n])
	}
	*k = bigger
}

// clear lets go of all, and returns how much memory that gives back.
func (k *kept) clear() (freed int) {
	freed = len(k.ring)
	for _, e := range k.entries[k.head:] {
		freed += cap(e.alone)
	}
	*k = kept{}
	return freed
}

// get returns an update, if it is still kept.
func (k *kept) get(number uint64) ([]byte, bool) {
	all := k.entries[k.head:]
	if len(all) == 0 || number < all[0].number || number > all[len(all)-1].number {
		return nil, false
	}
	e := all[number-all[0].number] // numbers follow each other
	if e.alone != nil {
		return e.alone, true
	}
	return k.ring[e.at : e.at+e.n], true
}

// first returns the lowest number that is kept, or next where none is.
func (k *kept) first(next uint64) uint64 {
	if k.head == len(k.entries) {
		return next
	}
	return k.entries[k.head].number
}

// renumber gives what is kept the numbers from 1 on, and returns the last.
func (k *kept) renumber() uint64 {
	all := k.entries[k.head:]
	for i := range all {
		all[i].number = uint64(i + 1)
	}
	return uint64(len(all))
}
