package backend

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// state is one registered State, with the queue of what waits for its Merge and
// the goroutine that works it off: a slow state stalls no other.
type state struct {
	node    *node
	key     string
	s       State
	opts    StateOptions
	echoes  echoes
	stable  stability
	entries *entries
	seen    stateNotes

	mu      sync.Mutex
	queue   queue
	held    int // bytes of the jobs that are not done
	removed bool

	ready     chan struct{} // closed when its first exchange is over, or its limit has passed
	readyOnce sync.Once

	wake    chan struct{}
	stop    chan struct{}
	stopped chan struct{} // closed when the worker has ended
	leaving atomic.Bool   // updates are merged no more
	merged  []mergedUpdate
}

// mergedUpdate is one that the core is to be told of.
type mergedUpdate struct {
	ref core.Ref
	err error
}

// maxMerged is how many merged updates the core is told of at once.
const maxMerged = 64

func newState(n *node, key string, s State, o *StateOptions) *state {
	st := &state{node: n, key: key, s: s, entries: newEntries(s), ready: make(chan struct{}), wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
	if o != nil {
		st.opts = *o
	}
	if st.opts.QueueItems == 0 {
		st.opts.QueueItems = 65536
	}
	if st.opts.QueueBytes == 0 {
		st.opts.QueueBytes = 64 << 20
	}
	return st
}

// Broadcast implements Channel.
func (st *state) Broadcast(b []byte) { _ = st.TryBroadcast(b) } // a drop is counted

// TryBroadcast implements Channel.
func (st *state) TryBroadcast(b []byte) error {
	n := st.node
	if st.isStopped() || n.closing.Load() {
		return fmt.Errorf("%w: channel of state %q", ErrClosed, st.key)
	}
	if len(b) > n.cfg.MaxPayload {
		n.met.drop(st.key, "too_large")
		return fmt.Errorf("%w: payload of %d bytes for state %q, max_payload is %d", ErrTooLarge, len(b), st.key, n.cfg.MaxPayload)
	}
	if st.echoes.has(b) {
		n.met.echoSuppressed.Inc() // everybody got it from its origin, as we did
		return nil
	}
	err := n.out.update(st.key, b)
	switch {
	case errors.Is(err, ErrQueueFull):
		n.met.drop(st.key, "buffer_overflow")
		n.met.publishFailed("update", "buffer_overflow")
		return fmt.Errorf("%w: %d updates wait to be sent, queue_items is %d, queue_bytes is %d", ErrQueueFull, n.out.queued(), n.cfg.QueueItems, n.cfg.QueueBytes)
	case err != nil:
		return fmt.Errorf("%w: channel of state %q", err, st.key)
	}
	return nil
}

// Remove implements Channel.
func (st *state) Remove() {
	was := st.node.dropState(st)
	st.end()
	<-st.stopped
	if was {
		st.node.met.forgetKey(st.key)
	}
}

func (st *state) end() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.removed {
		st.removed = true
		close(st.stop)
	}
}

// becomeReady releases who waits for the state.
func (st *state) becomeReady() { st.readyOnce.Do(func() { close(st.ready) }) }

// enqueue queues an update for Merge: a copy of data, unless that is in a buffer of its
// own, home. It reports whether there was room. It may be called under the core's lock.
func (st *state) enqueue(data, home []byte, e entry) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.removed || st.leaving.Load() {
		return true
	}
	if st.queue.items >= st.opts.QueueItems || st.queue.bytes+len(data) > st.opts.QueueBytes && st.queue.bytes > 0 {
		return false
	}
	st.queue.update(data, home, e)
	signal(st.wake)
	return true
}

// doOr queues a job that runs once everything queued before it is merged, or
// cancel when the state ends first; cancel may be nil. It reports whether there
// was room for the job, which holds size bytes; else neither is called.
func (st *state) doOr(size int, job, cancel func()) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.removed || st.queue.items >= st.opts.QueueItems || st.held > 0 && st.held+size > st.opts.QueueBytes {
		return false
	}
	st.held += size
	st.queue.push(entry{more: &errand{size: size, job: job, cancel: cancel}})
	signal(st.wake)
	return true
}

// leave has updates merged no more. The channel that it returns is closed once
// what is being merged, or marshalled, has returned.
func (st *state) leave() <-chan struct{} {
	st.leaving.Store(true)
	idle := make(chan struct{})
	done := func() { close(idle) }
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.removed {
		done()
		return idle
	}
	st.queue.push(entry{more: &errand{job: done, cancel: done}})
	signal(st.wake)
	return idle
}

// work merges what is queued until the state ends.
func (st *state) work() {
	defer close(st.stopped)
	defer func() {
		st.mu.Lock()
		rest := st.queue.take()
		st.mu.Unlock()
		abandon(rest)
	}()
	for {
		select {
		case <-st.stop:
			return
		case <-st.wake:
		}
		st.mu.Lock()
		all := st.queue.take()
		st.mu.Unlock()
		done := st.workOff(all)
		st.report()
		if !done {
			return
		}
		st.mu.Lock()
		st.queue.done(all)
		st.mu.Unlock()
	}
}

// workOff merges updates and runs jobs. It reports false when the state has
// ended.
func (st *state) workOff(all []*block) bool {
	told := time.Now()
	for at, b := range all {
		for i := range b.entries {
			e := &b.entries[i]
			switch {
			case st.isStopped():
				b.entries = b.entries[i:]
				abandon(all[at:])
				return false
			case e.more != nil && e.more.job != nil:
				st.report()
				e.more.job()
				st.release(e.more.size)
			case st.leaving.Load():
			default:
				now := st.workOn(e)
				if len(st.merged) >= maxMerged || now.Sub(told) > time.Millisecond {
					st.report()
					told = now
				}
			}
		}
		worked(all, at)
	}
	return true
}

// workOn merges one update. It returns when that was over.
func (st *state) workOn(e *entry) (now time.Time) {
	now, err := st.merge(e.data, e.numbered)
	if e.more != nil {
		arenas.put(e.more.home)
	}
	st.node.met.propagated(e.sent, now)
	if e.numbered {
		st.merged = append(st.merged, mergedUpdate{e.ref, err})
	}
	return now
}

// report tells the core what is merged.
func (st *state) report() {
	if len(st.merged) == 0 {
		return
	}
	e := st.node.engine
	e.mu.Lock()
	now, wake := e.now(), false
	for _, m := range st.merged {
		wake = e.core.UpdateMerged(now, m.ref, m.err) || wake
	}
	if wake {
		e.collect()
	}
	e.mu.Unlock()
	clear(st.merged)
	st.merged = st.merged[:0]
}

func (st *state) release(size int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.held -= size
}

func (st *state) isStopped() bool {
	select {
	case <-st.stop:
		return true
	default:
		return false
	}
}

// merge calls the user's Merge, and survives it. It returns when that was over.
func (st *state) merge(b []byte, numbered bool) (now time.Time, err error) {
	hash := st.echoes.begin(b)
	err = contain(func() error { return st.s.Merge(b) })
	now = time.Now()
	st.echoes.end(hash, numbered, now)
	if err != nil {
		st.failed("merge", "a state refused an update", err)
	}
	return now, err
}

// marshal calls the user's MarshalBinary, and survives it. The result is never
// nil.
func (st *state) marshal() (b []byte, err error) {
	if b, err = st.marshalAgain(); err != nil {
		st.failed("marshal", "a state cannot be marshalled", err)
		return nil, err
	}
	st.seen.marshalled(len(b))
	return b, nil
}

func (st *state) marshalAgain() (b []byte, err error) {
	err = contain(func() (err error) { b, err = st.s.MarshalBinary(); return err })
	if b == nil {
		b = []byte{}
	}
	return b, err
}

func (st *state) failed(op, text string, err error) {
	st.node.met.stateFailed(st.key, op)
	st.node.log.warn(op+":"+st.key, text, "key", st.key, "err", err)
}

// errGone is the outcome of a job of a state that was removed.
var errGone = errors.New("the state was removed")

// marshalFor has a state marshalled in its turn, as the core asks.
func (n *node) marshalFor(m core.Marshal) {
	st := (*n.states.Load())[m.Key]
	gone := func() { n.engine.step(core.Marshalled{Job: m.Job, Err: errGone}) }
	job := func() {
		n.engine.begin(m.Job)
		n.engine.step(st.marshalled(m))
	}
	if st == nil || !st.doOr(0, job, gone) {
		gone()
	}
}

// begin tells the core that a job begins.
func (e *engine) begin(j core.Job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.core.Begin(j)
}

func (st *state) marshalled(m core.Marshal) core.Marshalled {
	if st.entries.of != nil && !m.Whole && (m.OnlyDigest || m.Apart) {
		return st.apart(m)
	}
	d, err := st.digestOf(false)
	out := core.Marshalled{Job: m.Job, Digest: d.sum, HasDigest: d.known, Err: err}
	if err != nil || m.OnlyDigest || d.known && slices.Contains(m.Unless, d.sum) {
		return out
	}
	if out.Data = st.node.mail.holding(st.key, d.sum); out.Data == nil {
		out.Data = d.data
	}
	if out.Data == nil {
		out.Data, out.Err = st.marshal()
	}
	return out
}

// mergeFor has a state of another member merged in its turn, as the core asks.
func (n *node) mergeFor(m core.Merge) {
	st := (*n.states.Load())[m.Key]
	full := func() { n.engine.step(core.Merged{Job: m.Job, Full: true}) }
	job := func() {
		out := core.Merged{Job: m.Job}
		if m.Entries != nil {
			out = st.mergeEntries(m)
			spent(m.Home)
		} else if _, out.Err = st.merge(m.Data, false); out.Err == nil {
			st.seen.exchanged()
		}
		switch {
		case !m.Digest:
		case m.Entries != nil:
			if t, err := st.tally(); err == nil {
				out.Digest, out.HasDigest = t.digest, true
			}
		case out.Err == nil:
			if d, err := st.digestOf(false); err == nil {
				out.Digest, out.HasDigest = d.sum, d.known
			}
		}
		n.engine.step(out)
	}
	switch {
	case st == nil:
		full()
	case !st.doOr(len(m.Data)+core.SizeOf(m.Entries), job, full):
		n.met.drop(st.key, "inbound_overflow")
		full()
	}
}

// contain turns a panic of f into an error.
func contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

var _ Channel = (*state)(nil)
