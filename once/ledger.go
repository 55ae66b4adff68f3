package once

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// ledger is what the nodes tell each other of the keys: a replicated map that has two
// kinds of entries. That a key was done is one of the key, which who did it last
// writes. An attempt is one of the key and of a node, which nobody else writes.
type ledger struct {
	cluster  backend.ClusterChannel
	notes    *replicated.Map[string, note]
	opts     Options
	instance string    // this node
	began    time.Time // by this node's clock
	met      *metrics

	watching sync.WaitGroup
	stop     context.CancelFunc

	mu      sync.Mutex
	results map[string]bool               // keys that the map has a result of, or is to have one
	mine    map[string]time.Time          // keys that were done here and nowhere else, until they are forgotten
	telling map[string]bool               // keys that are being told to be done here
	latest  time.Time                     // when something that was done here was last told
	callers map[string]map[*follower]bool // of each key
}

func newLedger(cluster backend.ClusterChannel, o Options, met *metrics) (*ledger, error) {
	notes, err := replicated.NewMap[string, note](o.notes())
	if err != nil {
		return nil, fmt.Errorf("once: %w", err)
	}
	if err := notes.Attach(cluster, o.Key); err != nil {
		return nil, fmt.Errorf("once: %w", err)
	}
	l := &ledger{
		cluster: cluster, notes: notes, opts: o, instance: cluster.View().Self().Instance, began: o.Now(), met: met,
		results: map[string]bool{}, telling: map[string]bool{}, mine: map[string]time.Time{}, callers: map[string]map[*follower]bool{},
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.watching.Go(func() { l.watch(ctx) })
	return l, nil
}

// watch follows the map until ctx is done.
func (l *ledger) watch(ctx context.Context) {
	for change := range l.notes.Watch(ctx) {
		if change.Restart {
			l.startOver()
			continue
		}
		l.changed(change.Key, change.Value, !change.Deleted)
	}
}

// unnoticed is for how long at most a node is cut off and does not know it.
const unnoticed = 5 * time.Second

// unsaid returns an error if what was done here may be on its way to the others for as
// long as this node is away.
func (l *ledger) unsaid() error {
	v := l.cluster.View()
	l.mu.Lock()
	defer l.mu.Unlock()
	if v.Status != backend.Detached || l.latest.Add(unnoticed).Before(v.Since) {
		return nil
	}
	return fmt.Errorf("once: %w: this node is detached since %v, and did work until %v: %w", ErrUntold, v.Since.Format(time.RFC3339), l.latest.Format(time.RFC3339), cmp.Or(v.Err, backend.ErrUnavailable))
}

// close ends the watch, and all that is told.
func (l *ledger) close() {
	l.stop()
	l.watching.Wait()
	l.notes.Close()
}

// follower is a call that follows what is told of a key.
type follower struct {
	wake func()          // is called when something is told; nil: nobody waits
	told map[string]bool // instances whose attempts were told since take
	all  bool            // all may have been
}

// The kinds of entries are the first byte of their keys in the map.
const (
	ofResult  = "r"
	ofAttempt = "a"
)

func resultKey(key string) string { return ofResult + key }

func attemptKey(key, instance string) string { return ofAttempt + instance + "\x00" + key }

// of returns what an entry is of: a key, and where it is an attempt the node's.
func of(entry string) (key, instance string) {
	if of, ok := strings.CutPrefix(entry, ofAttempt); ok {
		instance, key, _ = strings.Cut(of, "\x00")
		return key, instance
	}
	return strings.TrimPrefix(entry, ofResult), ""
}

// result returns the result for key, if it was done.
func (l *ledger) result(key string) (Result, bool) {
	n, ok := l.notes.Get(resultKey(key))
	return Result{Value: n.Value, By: n.By, Instance: n.Instance, At: n.At}, ok
}

// attempt returns what a node has told of its work on key.
func (l *ledger) attempt(key, instance string) attempt {
	n, _ := l.notes.Get(attemptKey(key, instance))
	return n.attempt
}

// begin tells that this node works on key. That it cannot be told stops nobody: in
// doubt two act.
func (l *ledger) begin(key string) {
	l.try(key, attempt{Acts: true, Failed: l.attempt(key, l.instance).Failed})
}

// end tells that this node works on key no more, where its result does not.
func (l *ledger) end(key string) {
	l.try(key, attempt{Failed: l.attempt(key, l.instance).Failed})
}

// fail tells that this node's work on key has failed.
func (l *ledger) fail(key string) {
	l.try(key, attempt{Failed: l.attempt(key, l.instance).Failed + 1})
}

func (l *ledger) try(key string, a attempt) {
	entry := attemptKey(key, l.instance)
	err := l.admitAttempt(entry)
	if err == nil {
		err = l.notes.SetTTL(entry, note{attempt: a}, l.memory())
	}
	if err != nil {
		l.opts.Logger.Warn("an attempt could not be told to the other nodes", "key", key, "err", err)
	}
}

// memory is for how long attempts are known: longer than anybody waits for one, also by a
// clock that is ahead.
func (l *ledger) memory() time.Duration {
	return 2*(l.opts.Limit+l.opts.Turn) + min(l.opts.Life/4, time.Hour)
}

// done tells that this node has done key. A result that is there already stays: then
// two have done it.
func (l *ledger) done(key string, r Result) error {
	if before, ok := l.result(key); ok && before.Instance != l.instance {
		l.met.doubled.Inc()
		return nil
	}
	l.keep(key)
	defer l.told(key)
	if err := l.admit(key, r.Value); err != nil {
		return err
	}
	err := l.notes.SetTTL(resultKey(key), note{Value: r.Value, By: r.By, Instance: r.Instance, At: r.At}, l.opts.Life)
	l.recount(key)
	if err == nil && l.opts.Life < l.memory() { // else the result says it
		l.end(key)
	}
	return err
}

// keep notes that key was done here. What is forgotten is removed when there is twice
// as much as can be known.
func (l *ledger) keep(key string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.telling[key] = true
	if len(l.mine) >= 2*l.opts.MaxKeys {
		maps.DeleteFunc(l.mine, func(_ string, until time.Time) bool { return now.After(until) })
	}
	if len(l.mine) < 2*l.opts.MaxKeys {
		l.mine[key] = now.Add(l.opts.Life)
	}
	l.latest = now
}

// told looks who of two that did key at once is to count it, now that the map has the
// result of one of them: the other.
func (l *ledger) told(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.telling, key)
	l.twice(key)
}

// twice counts that key was done here and elsewhere, where the result that all have is
// another node's. l.mu is held.
func (l *ledger) twice(key string) {
	if _, too := l.mine[key]; !too || l.telling[key] {
		return
	}
	if r, ok := l.result(key); ok && r.Instance != l.instance {
		delete(l.mine, key)
		l.met.doubled.Inc()
	}
}

// changed handles a change of the map.
func (l *ledger) changed(entry string, n note, there bool) {
	key, instance := of(entry)
	if strings.HasPrefix(entry, ofResult) {
		l.count(key, there)
		if there && n.Instance != l.instance {
			l.heard(key, n)
		}
	}
	l.wake(key, instance)
}

// heard counts a result of another node.
func (l *ledger) heard(key string, n note) {
	if n.At.After(l.began) { // else it was not here when the work was done
		l.met.window.Observe(max(l.opts.Now().Sub(n.At), 0).Seconds())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.twice(key)
}

// follow returns what is told of a key from now on, until leave is called.
func (l *ledger) follow(key string) (f *follower, leave func()) {
	f = &follower{told: map[string]bool{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.callers[key] == nil {
		l.callers[key] = map[*follower]bool{}
	}
	l.callers[key][f] = true
	return f, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if delete(l.callers[key], f); len(l.callers[key]) == 0 {
			delete(l.callers, key)
		}
	}
}

// wakes has wake be called when something is told, until stop is called. wake must not
// block.
func (l *ledger) wakes(f *follower, wake func()) (stop func()) {
	set := func(wake func()) {
		l.mu.Lock()
		defer l.mu.Unlock()
		f.wake = wake
	}
	set(wake)
	return func() { set(nil) }
}

// take returns whose attempts were told since the last call.
func (l *ledger) take(f *follower) (told map[string]bool, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	told, all = f.told, f.all
	f.told, f.all = map[string]bool{}, false
	return told, all
}

func (l *ledger) wake(key, instance string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.callers[key] {
		if instance != "" {
			f.told[instance] = true
		}
		if f.wake != nil {
			f.wake()
		}
	}
}

// startOver forgets what the map had, which is told anew, and has all look at it.
func (l *ledger) startOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.results)
	for _, callers := range l.callers {
		for f := range callers {
			if f.all = true; f.wake != nil {
				f.wake()
			}
		}
	}
}
