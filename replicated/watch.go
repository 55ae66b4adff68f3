package replicated

import (
	"context"
	"iter"
)

// watcher is one call of Watch: the keys that have changed since it last looked.
type watcher struct {
	wake   chan struct{}
	queue  []string // in the order in which each first changed
	queued map[string]struct{}
	behind bool // more has changed than is kept
}

func (w *watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// changed has watchers look at a key, which has a value now or not. r.mu is held.
func (r *replica) changed(key string, live bool) {
	r.turned(key, live)
	for w := range r.watchers {
		if _, queued := w.queued[key]; queued || w.behind {
			continue
		}
		if len(w.queue) >= 2*r.limits.MaxEntries {
			w.queue, w.queued, w.behind = nil, nil, true
			continue
		}
		w.queue = append(w.queue, key)
		w.queued[key] = struct{}{}
		w.signal()
	}
}

// change is what a watcher is shown: an entry as it is now, or that it starts over.
type change struct {
	entry
	live  bool
	again bool
}

// watch yields all entries, and then each that changes, until ctx is done or the replica
// is closed.
func (r *replica) watch(ctx context.Context) iter.Seq[change] {
	return func(yield func(change) bool) {
		if r == nil {
			return
		}
		w := &watcher{wake: make(chan struct{}, 1), queued: map[string]struct{}{}}
		r.mu.Lock()
		r.watchers[w] = struct{}{}
		if r.closed {
			w.signal()
		}
		r.mu.Unlock()
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.watchers, w)
		}()
		if !r.showAll(ctx, yield) {
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			}
			keys, behind, closed := r.pending(w)
			if closed {
				return
			}
			if behind && (!yield(change{again: true}) || !r.showAll(ctx, yield)) {
				return
			}
			for _, key := range keys {
				e, live := r.held(key)
				e.key = key
				if ctx.Err() != nil || !yield(change{entry: e, live: live}) {
					return
				}
			}
		}
	}
}

// pending returns the keys that a watcher has not seen, or that there are too many.
func (r *replica) pending(w *watcher) (keys []string, behind, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, behind = w.queue, w.behind
	w.queue, w.queued, w.behind = nil, map[string]struct{}{}, false
	return keys, behind, r.closed
}

// showAll yields all entries that have a value. It reports whether to go on.
func (r *replica) showAll(ctx context.Context, yield func(change) bool) bool {
	for all := range r.walk {
		for _, it := range all {
			if ctx.Err() != nil {
				return false
			}
			if !it.live {
				continue
			}
			if e, _ := parse(it.encoded); !yield(change{entry: e, live: true}) {
				return false
			}
		}
	}
	return true
}
