package replicated

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// replica is what all types of this package are on: entries that are merged with those
// of the other members, by the encodings of their keys and values.
type replica struct {
	tag    string
	limits Options
	check  func(e entry) error         // reports what makes an entry none of this type; it may panic
	called func(key string) string     // what an entry of a key is called in an error
	turned func(key string, live bool) // told under mu of a key that may have got a value, or lost it

	writing    sync.Mutex // is held for a whole write of this node, its broadcast included
	channel    backend.Channel
	unregister func() // the metrics, once it is attached

	mu       sync.Mutex
	closed   bool
	clock    clock
	table    table
	watchers map[*watcher]struct{}
	timer    *time.Timer // nil: nothing is due
	timerDue uint64
	sweeps   sync.WaitGroup    // timers that may still call
	refused  map[string]uint64 // entries, by reason
}

// newReplica returns a replica of a kind, such as "set of string", unless the options
// name it.
func newReplica(kind string, o Options, check func(e entry) error) *replica {
	r := &replica{tag: kind, limits: o, check: check, called: quoted, turned: func(string, bool) {}, table: newTable(), watchers: map[*watcher]struct{}{}, refused: map[string]uint64{}}
	if o.Type != "" {
		r.tag = o.Type
	}
	r.tag = r.tag[:min(len(r.tag), maxTag)]
	r.clock = clock{now: o.Now, maxAhead: o.MaxAhead}
	return r
}

// made reports whether this is no zero value: such a one holds nothing, and takes nothing.
func (r *replica) made() error {
	if r == nil {
		return fmt.Errorf("%w: a zero value: make one by NewMap, or the like", backend.ErrConfig)
	}
	return nil
}

// quoted is what an entry of a map is called.
func quoted(key string) string { return fmt.Sprintf("%.64q", key) }

// Attach makes this a state of a node, under a key that is the same on all nodes. What
// was set before reaches the others by the exchange of states, as what they hold
// reaches this one. It may be attached once; a second time is backend.ErrConfig, and
// after Close it is backend.ErrClosed. Writing waits while it runs.
func (r *replica) Attach(node backend.ClusterChannel, key string) error {
	if err := r.made(); err != nil {
		return err
	}
	if node == nil {
		return fmt.Errorf("%w: a %s is to be attached to nil: open a node first", backend.ErrConfig, r.tag)
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	switch {
	case r.isClosed():
		return fmt.Errorf("%w: a %s", backend.ErrClosed, r.tag)
	case r.channel != nil:
		return fmt.Errorf("%w: a %s is attached already: make another one for %q", backend.ErrConfig, r.tag, key)
	}
	channel, err := node.AddState(key, r, nil)
	if err != nil {
		return err
	}
	unregister, err := r.register(node, key)
	if err != nil {
		channel.Remove()
		return err
	}
	r.channel, r.unregister = channel, unregister
	return nil
}

// Close detaches: it ends the exchange and each Watch. Writing is backend.ErrClosed from
// now on. What is held can still be read, and merged by a store that keeps it, in whatever
// order things are closed. It must not be called from within a codec. Further calls do
// nothing.
func (r *replica) Close() {
	if r == nil {
		return
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.channel != nil && !r.isClosed() {
		r.channel.Remove()
		r.unregister()
	}
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		if r.timer != nil && r.timer.Stop() {
			r.sweeps.Done()
		}
		for w := range r.watchers {
			w.signal()
		}
	}
	r.mu.Unlock()
	r.sweeps.Wait()
}

func (r *replica) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Stats are the numbers of a replica.
type Stats struct {
	Entries    int    // with a value
	Tombstones int    // deletions that are remembered, and expired entries that are
	Bytes      int64  // of all of them, encoded
	Ahead      uint64 // entries of another clock that was more than MaxAhead ahead: they were merged, their time not believed
	Refused    uint64 // how often an entry was not merged: malformed, of another type or a later version, of a time to come, or no room; one that is offered again counts again
}

// Stats returns the numbers as they are now.
func (r *replica) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	r.settle()
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &r.table
	s := Stats{Entries: t.live, Tombstones: len(t.order) - t.live, Bytes: t.bytes, Ahead: r.clock.ahead}
	for _, entries := range r.refused {
		s.Refused += entries
	}
	return s
}

// held returns the entry of a key.
func (r *replica) held(key string) (e entry, live bool) {
	if r == nil {
		return entry{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e, live, _ = r.table.get(key)
	if live && e.form == expiring && e.expires <= r.clock.wall() {
		live = false
	}
	return e, live
}

// size returns how many entries have a value.
func (r *replica) size() int {
	if r == nil {
		return 0
	}
	r.settle()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table.live
}

// write has a node change some entries. f makes them, from what is held, under the lock:
// it calls nobody. What is too large to be sent is not kept, nor is what nobody can be told
// since the node is closed.
func (r *replica) write(f func(t *table, c *clock) ([]entry, error)) error {
	if err := r.made(); err != nil {
		return err
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	r.settle()
	update, entries, encoded, err := r.prepare(f)
	if err != nil || len(entries) == 0 {
		return err
	}
	if r.channel != nil { // what else it reports is counted, and repaired by exchange
		if err := r.channel.TryBroadcast(update); errors.Is(err, backend.ErrTooLarge) || errors.Is(err, backend.ErrClosed) {
			return fmt.Errorf("%s is not changed: %w", r.called(entries[0].key), err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range entries {
		r.apply(e, encoded[i])
	}
	r.arm()
	return nil
}

// prepare makes the entries of a write, and their update.
func (r *replica) prepare(f func(t *table, c *clock) ([]entry, error)) (update []byte, entries []entry, encoded []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, nil, fmt.Errorf("%w: a %s", backend.ErrClosed, r.tag)
	}
	if entries, err = f(&r.table, &r.clock); err != nil {
		return nil, nil, nil, err
	}
	update = appendHead(nil, r.tag)
	for _, e := range entries {
		if err := r.fits(e, 1); err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", r.called(e.key), err)
		}
		encoded = append(encoded, e.encoded())
		update = appendEntry(update, encoded[len(encoded)-1])
	}
	return update, entries, encoded, nil
}

// fits reports whether there is room for an entry, within so many times the limits. A
// deletion of what is there always fits.
func (r *replica) fits(e entry, times int) error {
	t := &r.table
	size, more := len(e.key)+len(e.value), 0
	switch old := t.byKey[e.key]; {
	case old != nil:
		more = size - contentSize(old.encoded)
	case len(t.order) >= times*r.limits.MaxEntries:
		return fmt.Errorf("%w: no room beside %d entries, of which %d are deletions: MaxEntries is %d", ErrFull, len(t.order), len(t.order)-t.live, r.limits.MaxEntries)
	default:
		more = size
	}
	if more > 0 && t.size+int64(more) > int64(times)*r.limits.MaxBytes {
		return fmt.Errorf("%w: no room for %d bytes beside %d: MaxBytes is %d", ErrFull, size, t.size-int64(size-more), r.limits.MaxBytes)
	}
	return nil
}

// outcome is what an entry comes to with the one that is held of its key.
type outcome struct {
	entry
	is   bool // it is the entry itself
	news bool // it is another one than is held
	wins bool // not only the time for which it is remembered is another
}

// outcome returns what an entry comes to. What all others refuse is held in nobody's
// way. r.mu is held.
func (r *replica) outcome(e entry, encoded string) outcome {
	it := r.table.byKey[e.key]
	if it == nil {
		return outcome{e, true, true, true}
	}
	if it.encoded == encoded {
		return outcome{e, true, false, false}
	}
	old, _ := parse(it.encoded)
	if r.clock.absurd(old.stamp) && !r.clock.absurd(e.stamp) {
		return outcome{e, true, true, true}
	}
	now := joined(old, e)
	return outcome{now, now == e, now != old, order(now, old) > 0}
}

// apply merges an entry into what is held, and has watchers see it. r.mu is held.
func (r *replica) apply(e entry, encoded string) {
	o := r.outcome(e, encoded)
	if !o.news {
		return
	}
	if !o.is {
		encoded = o.encoded()
	}
	if key := r.table.put(encoded); o.wins {
		r.changed(key, o.form != dead)
	}
}

// MarshalBinary implements backend.State. It holds all entries that are there from its
// beginning to its end, in any order.
func (r *replica) MarshalBinary() ([]byte, error) {
	if err := r.made(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	size := int(r.table.bytes) + len(r.table.order)*4 + maxTag
	r.mu.Unlock()
	b := appendHead(make([]byte, 0, size), r.tag)
	for all := range r.walk {
		for _, it := range all {
			b = appendEntry(b, it.encoded)
		}
	}
	return b, nil
}

// EntryIDs implements backend.EntryState.
func (r *replica) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		for all := range r.walk {
			for i := range all {
				if !yield(all[i].id) {
					return
				}
			}
		}
	}
}

// stride is how many entries a walk looks at under the lock.
const stride = 1024

// walk yields copies of all items, some at a time. It goes from the end to the beginning:
// an item takes the place of one that is removed only from behind.
func (r *replica) walk(yield func([]item) bool) {
	if r == nil {
		return
	}
	r.settle()
	r.mu.Lock()
	next := len(r.table.order)
	r.mu.Unlock()
	some := make([]item, 0, min(next, stride))
	for next > 0 {
		r.mu.Lock()
		next = min(next, len(r.table.order))
		some = some[:0]
		for ; next > 0 && len(some) < stride; next-- {
			some = append(some, *r.table.order[next-1])
		}
		r.mu.Unlock()
		if len(some) > 0 && !yield(some) {
			return
		}
	}
}

// Entry implements backend.EntryState.
func (r *replica) Entry(id backend.EntryID) ([]byte, error) {
	if err := r.made(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	it, encoded := r.table.byID[id], ""
	if it != nil {
		encoded = it.encoded
	}
	r.mu.Unlock()
	if it == nil {
		return nil, nil
	}
	return appendEntry(appendHead(make([]byte, 0, len(r.tag)+len(encoded)+8), r.tag), encoded), nil
}

// Digest implements backend.Digester.
func (r *replica) Digest() (uint64, error) {
	if err := r.made(); err != nil {
		return 0, err
	}
	r.settle()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table.sum, nil
}

// Merge implements backend.State. Each entry of b is merged by itself: the error is about
// those that are not, and says what is wrong with the first. It has the method Later of
// which package persist speaks: that is true where most are of a time to come.
func (r *replica) Merge(b []byte) error {
	if err := r.made(); err != nil {
		return err
	}
	rest, err := body(b, r.tag)
	if err != nil {
		r.refuse(map[string]int{reasonOf(err): 1})
		return err
	}
	r.settle()
	var refused refusal
	for len(rest) > 0 {
		var encoded string
		if encoded, rest, err = cut(rest); err == nil {
			err = r.mergeEntry(encoded)
		}
		refused.note(err)
	}
	r.mu.Lock()
	r.arm()
	r.mu.Unlock()
	if refused.bad == 0 {
		return nil
	}
	r.refuse(refused.by)
	return &refused
}

func (r *replica) refuse(by map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for reason, entries := range by {
		r.refused[reason] += uint64(entries)
	}
}

// mergeEntry merges one entry of another member, of which it keeps a copy.
func (r *replica) mergeEntry(encoded string) error {
	e, err := parse(encoded)
	if err != nil {
		return err
	}
	if err := r.mergeParsed(e, encoded); err != nil {
		return fmt.Errorf("%s: %w", r.called(e.key), err)
	}
	return nil
}

func (r *replica) mergeParsed(e entry, encoded string) error {
	if known, err := r.judge(e, encoded); known || err != nil {
		return err
	}
	if err := contain(func() error { return r.check(e) }); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.outcome(e, encoded); o.news {
		if err := r.fits(o.entry, 2); err != nil {
			return err
		}
		r.clock.saw(e.stamp)
		r.apply(e, strings.Clone(encoded))
	}
	return nil
}

// judge reports whether an entry is of no consequence, or must not be merged.
func (r *replica) judge(e entry, encoded string) (known bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.outcome(e, encoded).news || e.gone() <= r.clock.wall() {
		return true, nil
	}
	return false, e.sane(&r.clock)
}

var (
	_ backend.EntryState = (*replica)(nil)
	_ backend.Digester   = (*replica)(nil)
)
