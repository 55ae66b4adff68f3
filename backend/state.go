package backend

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// state is one registered State, with the queue of what waits for its Merge and
// the goroutine that works it off: a slow state stalls no other.
type state struct {
	node *node
	key  string
	s    State
	opts StateOptions

	mu      sync.Mutex
	queue   []entry
	arena   []byte // the bytes of the queue's updates
	spare   []entry
	scratch []byte
	held    int // bytes of the jobs that are not done
	removed bool

	synced   chan struct{} // closed by the first exchange
	syncOnce sync.Once

	wake    chan struct{}
	stopped chan struct{} // closed when the worker has ended
	stop    chan struct{}

	recent [1024]atomic.Uint64 // hashes of payloads merged lately, by their low bits
	seen   stateNotes
}

// entry is an update, or a job that runs in turn with the updates.
type entry struct {
	off, n int
	sent   int64
	job    func()
	cancel func() // instead of job, when the state ends first; may be nil
}

func newState(n *node, key string, s State, o *StateOptions) *state {
	st := &state{node: n, key: key, s: s, synced: make(chan struct{}), wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
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
	if len(b) > n.cfg.MaxPayload {
		n.met.drop(st.key, "too_large")
		return fmt.Errorf("%w: payload of %d bytes for state %q, max_payload is %d", ErrTooLarge, len(b), st.key, n.cfg.MaxPayload)
	}
	if st.isRemoved() || n.closing.Load() {
		return fmt.Errorf("%w: channel of state %q", ErrClosed, st.key)
	}
	if h := xxhash.Sum64(b); st.recent[h%uint64(len(st.recent))].Load() == h && h != 0 {
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
	st.node.dropState(st)
	st.end()
	<-st.stopped
	st.node.met.forgetKey(st.key)
}

func (st *state) end() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.removed {
		st.removed = true
		close(st.stop)
	}
}

func (st *state) isRemoved() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.removed
}

// enqueue queues an update for Merge. It reports whether there was room.
func (st *state) enqueue(data []byte, sent int64) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.removed {
		return true
	}
	if len(st.queue) >= st.opts.QueueItems || len(st.arena)+len(data) > st.opts.QueueBytes && len(st.arena) > 0 {
		return false
	}
	if cap(st.arena) == 0 && len(data) > smallArena {
		st.arena = arenas.get(len(data))
	}
	st.queue = append(st.queue, entry{off: len(st.arena), n: len(data), sent: sent})
	st.arena = append(st.arena, data...)
	st.signal()
	return true
}

// doOr queues a job that runs once everything queued before it is merged, or
// cancel when the state ends first; cancel may be nil. It reports whether there
// was room for the job, which holds size bytes; else neither is called.
func (st *state) doOr(size int, job, cancel func()) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.removed || len(st.queue) >= st.opts.QueueItems || st.held > 0 && st.held+size > st.opts.QueueBytes {
		return false
	}
	st.held += size
	st.queue = append(st.queue, entry{n: size, job: job, cancel: cancel})
	st.signal()
	return true
}

// abandon cancels the jobs of entries that will not be worked off.
func abandon(entries []entry) {
	for _, e := range entries {
		if e.cancel != nil {
			e.cancel()
		}
	}
}

func (st *state) signal() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// work merges what is queued until the state ends.
func (st *state) work() {
	defer close(st.stopped)
	defer func() {
		st.mu.Lock()
		rest := st.queue
		st.queue = nil
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
		queue, arena := st.queue, st.arena
		st.queue, st.arena = st.spare[:0], st.scratch[:0]
		st.mu.Unlock()
		for i, e := range queue {
			if st.isStopped() {
				abandon(queue[i:])
				return
			}
			if e.job != nil {
				e.job()
				st.release(e.n)
				continue
			}
			st.merge(arena[e.off : e.off+e.n : e.off+e.n])
			st.node.met.propagated(e.sent)
		}
		clear(queue)
		if cap(arena) > smallArena {
			arenas.put(arena)
			arena = nil
		}
		if cap(queue) > smallArena/16 {
			queue = nil
		}
		st.mu.Lock()
		st.spare, st.scratch = queue[:0], arena[:0]
		st.mu.Unlock()
	}
}

func (st *state) release(size int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.held -= size
}

// exchanged notes that the state has been compared with another member's, and
// for what reason; it is empty where there is no other.
func (st *state) exchanged(reason string) {
	st.seen.exchange(reason)
	st.syncOnce.Do(func() { close(st.synced) })
}

func (st *state) isStopped() bool {
	select {
	case <-st.stop:
		return true
	default:
		return false
	}
}

// merge calls the user's Merge, and survives it.
func (st *state) merge(b []byte) {
	h := xxhash.Sum64(b)
	st.recent[h%uint64(len(st.recent))].Store(h)
	err := contain(func() error { return st.s.Merge(b) })
	if err != nil {
		st.node.met.stateFailed(st.key, "merge")
		st.node.log.warn("merge:"+st.key, "a state refused an update", "key", st.key, "err", err)
	}
}

// marshal calls the user's MarshalBinary, and survives it.
func (st *state) marshal() (b []byte, err error) {
	err = contain(func() (err error) { b, err = st.s.MarshalBinary(); return err })
	if err != nil {
		st.node.met.stateFailed(st.key, "marshal")
		st.node.log.warn("marshal:"+st.key, "a state cannot be marshalled", "key", st.key, "err", err)
		return b, err
	}
	st.seen.marshalled(len(b))
	return b, nil
}

// digest returns the state's digest, and the marshalled state where that was
// made on the way.
func (st *state) digest() (sum uint64, b []byte, err error) {
	if d, ok := st.s.(Digester); ok {
		err = contain(func() (err error) { sum, err = d.Digest(); return err })
		if err != nil {
			st.node.met.stateFailed(st.key, "digest")
			return sum, nil, err
		}
		st.seen.digested(sum)
		return sum, nil, nil
	}
	if b, err = st.marshal(); err != nil {
		return 0, nil, err
	}
	sum = xxhash.Sum64(b)
	st.seen.digested(sum)
	return sum, b, nil
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
