package replicated

import (
	"container/heap"
	"encoding/binary"

	"github.com/clusterchannel/clusterchannel/backend"
)

// item is an entry where it is kept. What is fixed is in its encoding.
type item struct {
	encoded string
	id      backend.EntryID
	due     uint64 // when it expires, or is forgotten; 0: never
	pos     int32  // in table.order
	turn    int32  // in table.dues; less than 0: it is not there
	live    bool   // it has a value that has not expired
}

// table keeps the entries, each under its key and its id. It is not safe for
// concurrent use.
type table struct {
	byKey map[string]*item
	byID  map[backend.EntryID]*item
	order []*item // all, so that a walk can go on where it was
	dues  dues
	live  int
	bytes int64  // of all encodings
	size  int64  // of all keys and values
	sum   uint64 // of all ids, in any order
}

func newTable() table {
	return table{byKey: map[string]*item{}, byID: map[backend.EntryID]*item{}}
}

// get returns the entry of a key, and whether there is one.
func (t *table) get(key string) (e entry, live, ok bool) {
	it := t.byKey[key]
	if it == nil {
		return entry{}, false, false
	}
	e, _ = parse(it.encoded) // it was parsed before
	return e, it.live, true
}

// put puts an entry in the place of that of its key, which it returns: a part of the
// encoding, as all that is kept.
func (t *table) put(encoded string) (key string) {
	e, _ := parse(encoded)
	it, ended := t.byKey[e.key], false
	if it == nil {
		it = &item{pos: int32(len(t.order)), turn: -1}
		t.order = append(t.order, it)
	} else {
		t.discount(it)
		old, _ := parse(it.encoded)
		ended = !it.live && order(old, e) == 0
	}
	it.encoded, it.id = encoded, backend.EntryIDOf([]byte(encoded))
	it.live = e.form != dead && !ended
	switch {
	case e.form == lasting:
		it.due = 0
	case it.live:
		it.due = e.expires
	default:
		it.due = e.gone()
	}
	t.byKey[e.key], t.byID[it.id] = it, it
	t.bytes += int64(len(encoded))
	t.size += int64(contentSize(encoded))
	t.sum += half(it.id)
	if it.live {
		t.live++
	}
	t.dues.set(it)
	return e.key
}

// remove forgets an entry.
func (t *table) remove(it *item) {
	t.discount(it)
	e, _ := parse(it.encoded)
	delete(t.byKey, e.key)
	last := t.order[len(t.order)-1]
	t.order[it.pos], last.pos = last, it.pos
	t.order[len(t.order)-1] = nil
	t.order = t.order[:len(t.order)-1]
	it.due = 0
	t.dues.set(it)
}

// discount has an entry count no more.
func (t *table) discount(it *item) {
	delete(t.byID, it.id)
	t.bytes -= int64(len(it.encoded))
	t.size -= int64(contentSize(it.encoded))
	t.sum -= half(it.id)
	if it.live {
		t.live--
	}
}

// expire does the next thing that is due by a time. It reports false if there is
// none. A key that had a value until now is returned.
func (t *table) expire(wall uint64) (key string, ended, did bool) {
	if len(t.dues) == 0 || t.dues[0].due > wall {
		return "", false, false
	}
	it := t.dues[0]
	e, _ := parse(it.encoded)
	ended = it.live
	if e.gone() <= wall {
		t.remove(it)
		return e.key, ended, true
	}
	it.live, it.due = false, e.gone()
	t.live--
	t.dues.set(it)
	return e.key, ended, true
}

// due returns when something is due next; 0: never.
func (t *table) due() uint64 {
	if len(t.dues) == 0 {
		return 0
	}
	return t.dues[0].due
}

// half is what an id counts in a sum.
func half(id backend.EntryID) uint64 { return binary.BigEndian.Uint64(id[:]) }

// dues are the items with something due, the soonest first.
type dues []*item

// set puts an item where it belongs now.
func (d *dues) set(it *item) {
	switch {
	case it.turn < 0 && it.due > 0:
		heap.Push(d, it)
	case it.turn >= 0 && it.due == 0:
		heap.Remove(d, int(it.turn))
	case it.turn >= 0:
		heap.Fix(d, int(it.turn))
	}
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i].due < d[j].due }
func (d dues) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].turn, d[j].turn = int32(i), int32(j)
}
func (d *dues) Push(x any) {
	it := x.(*item)
	it.turn = int32(len(*d))
	*d = append(*d, it)
}
func (d *dues) Pop() any {
	old := *d
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	it.turn = -1
	return it
}
