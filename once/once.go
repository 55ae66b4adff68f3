package once

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// Group is this node's part in the work that a cluster does once. Its methods may be
// called from many goroutines at once.
type Group struct {
	cluster backend.ClusterChannel
	opts    Options
	ledger  *ledger
	met     *metrics
	calls   *calls
	known   *acquaintance

	watching sync.WaitGroup // for changes of the members, until stop
	stop     context.CancelFunc

	closing sync.Once
	closed  error
}

// Result is the outcome of work that was done.
type Result struct {
	Value    []byte    // what the work returned
	By       string    // the name of the node that did it
	Instance string    // that node's Member.Instance
	At       time.Time // when it was done, by that node's clock
	Here     bool      // by this call
}

// New makes a Group of the cluster's nodes. Each node that is to take part needs one
// with the same Options; nil means the defaults. Close it before the cluster. An option
// that cannot be used is an error that wraps [backend.ErrConfig].
func New(cluster backend.ClusterChannel, opts *Options) (*Group, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	met, err := newMetrics(o.Registerer, clusterOf(cluster), o.Key)
	if err != nil {
		return nil, err
	}
	ledger, err := newLedger(cluster, o, met)
	if err != nil {
		met.unregister()
		return nil, err
	}
	g := &Group{cluster: cluster, opts: o, ledger: ledger, met: met, calls: newCalls(), known: newAcquaintance(cluster.View())}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.watching.Go(func() { g.known.watch(ctx, cluster) })
	return g, nil
}

// clusterOf returns the name of a cluster, where it can be known.
func clusterOf(c backend.ClusterChannel) string {
	if i, ok := c.(backend.Inspector); ok {
		return i.Inspect().Cluster
	}
	return ""
}

// Do has work done once by the nodes of the cluster that call Do for key, and returns
// its result, whichever node did it. While all is well that is exactly once; under
// every fault at least once, as the package says.
//
// It waits until this node is ready, and then for this node's turn. It returns as soon
// as the work was done by another node, and waits while one is doing it. When the turn
// comes it calls f, on this goroutine, with a context that ends with ctx and after
// Options.Limit. f returns a value for all who call Do, of at most 64 KiB, or nil; an empty
// one is nil to the others. f must not call Do for its own key, which with the context that f
// was given is an error at once, nor Close, which would wait for f.
//
// If f returns an error or panics, Do returns [ErrFailed] and what it was, and the next
// node in order tries at once. This one may call Do again: in the order it is then
// behind those that have failed less often. Work that was done and cannot be told, or not
// with its value, is [ErrUntold], together with its Result. A node that is detached tells
// it when it is back, which is no error; see Close. If ctx ends while Do waits, its error
// is returned, and the others take their turns.
//
// Two calls for one key on one node run one after the other. The key is valid UTF-8 of 1
// to 255 bytes. Another one, an f that is nil, and a Group that New did not make are an error
// that wraps [backend.ErrConfig], and nothing is told.
func (g *Group) Do(ctx context.Context, key string, f func(context.Context) ([]byte, error)) (Result, error) {
	if err := g.usable(ctx, key, f != nil); err != nil {
		return Result{}, fmt.Errorf("once: %w: %w", backend.ErrConfig, err)
	}
	leave, err := g.calls.enter(ctx, key)
	if err != nil {
		return Result{}, g.unfinished(key, err)
	}
	defer leave()
	r, found, err := g.await(ctx, key)
	switch {
	case err != nil:
		return Result{}, g.unfinished(key, err)
	case found:
		g.met.calls.WithLabelValues(elsewhere).Inc()
		return r, nil
	default:
		return g.act(ctx, key, f)
	}
}

// usable returns what is wrong with a call of Do.
func (g *Group) usable(ctx context.Context, key string, work bool) error {
	switch {
	case !g.made():
		return errors.New("a Group that New did not make: make one by New")
	case key == "" || len(key) > maxKey || !utf8.ValidString(key):
		return fmt.Errorf("the key %.300q is not valid UTF-8 of 1 to %d bytes", key, maxKey)
	case !work:
		return fmt.Errorf("key %q: the work is nil", key)
	case within{g, key}.in(ctx):
		return fmt.Errorf("key %q: Do is called by the work of its own key, for which it would wait", key)
	}
	return nil
}

func (g *Group) made() bool { return g != nil && g.calls != nil }

// within is the key of a value of a context that work is given: whether that is over.
type within struct {
	group *Group
	key   string
}

// of returns a context for work, which is over when end is called.
func (w within) of(ctx context.Context) (context.Context, func()) {
	over := new(atomic.Bool)
	return context.WithValue(ctx, w, over), func() { over.Store(true) }
}

// in reports whether a context is of work that is under way.
func (w within) in(ctx context.Context) bool {
	over, _ := ctx.Value(w).(*atomic.Bool)
	return over != nil && !over.Load()
}

// unfinished returns the error of a call that ended while it waited.
func (g *Group) unfinished(key string, err error) error {
	g.met.calls.WithLabelValues(ended).Inc()
	return fmt.Errorf("once: key %q: %w", key, err)
}

// act does the work, and tells of it: that it begins, and how it ended, even where f
// ends the goroutine.
func (g *Group) act(ctx context.Context, key string, f func(context.Context) ([]byte, error)) (Result, error) {
	g.met.acting.Inc()
	defer g.met.acting.Dec()
	g.ledger.begin(key)
	done := false
	defer func() {
		if !done {
			g.met.calls.WithLabelValues(failed).Inc()
			g.ledger.fail(key)
		}
	}()
	ctx, over := within{g, key}.of(ctx)
	defer over()
	limited, cancel := context.WithTimeoutCause(ctx, g.opts.Limit, errLimit)
	defer cancel()
	value, err := g.contained(limited, key, f)
	if err != nil {
		if cause := context.Cause(limited); errors.Is(cause, errLimit) {
			err = fmt.Errorf("%w (%v): %w", cause, g.opts.Limit, err)
		}
		return Result{}, fmt.Errorf("once: key %q: %w: %w", key, ErrFailed, err)
	}
	done = true
	g.met.calls.WithLabelValues(here).Inc()
	return g.tell(key, value)
}

// contained calls f. A panic is an error; where it was shows the log.
func (g *Group) contained(ctx context.Context, key string, f func(context.Context) ([]byte, error)) (value []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			g.opts.Logger.Error("the work panicked", "key", key, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return f(ctx)
}

// tell tells the others that the work was done here.
func (g *Group) tell(key string, value []byte) (Result, error) {
	self := g.cluster.View().Self()
	r := Result{Value: value, By: self.Name, Instance: self.Instance, At: g.opts.Now(), Here: true}
	known, err := g.tellResult(key, r)
	if !known {
		g.ledger.end(key) // else the others wait for it before they do it again
	}
	if err != nil {
		g.met.untold.Inc()
		g.opts.Logger.Warn("work was done, and the other nodes were not told all", "key", key, "err", err)
		return r, fmt.Errorf("once: key %q: %w: %w", key, ErrUntold, err)
	}
	return r, nil
}

// tellResult tells r, without its value if not with it, and reports whether it is known
// then that the work was done.
func (g *Group) tellResult(key string, r Result) (known bool, err error) {
	err = g.tellWhole(key, r)
	if err == nil || len(r.Value) == 0 || !errors.Is(err, backend.ErrTooLarge) && !errors.Is(err, replicated.ErrFull) {
		return err == nil, err
	}
	r.Value = nil
	if bare := g.ledger.done(key, r); bare != nil {
		return false, bare
	}
	return true, fmt.Errorf("they know that it was done, and not its value: %w", err)
}

func (g *Group) tellWhole(key string, r Result) error {
	if len(r.Value) > maxValue {
		return fmt.Errorf("%w: the value has %d bytes, %d are allowed", backend.ErrTooLarge, len(r.Value), maxValue)
	}
	return g.ledger.done(key, r)
}

// Close ends the calls of Do that wait, by [backend.ErrClosed], and waits for the work
// that is being done, so that the others are told of it. Where ctx ends first they are
// not, and wait for that work as for any other, while this node is a member. The cluster
// stays open.
//
// The error wraps [ErrUntold] if this node is detached and the others may not know what
// it did since, or shortly before: they may do it again. To have them told, wait until the
// node is attached before Close. Every call returns the same. A Group that New did not make
// has nothing to close.
func (g *Group) Close(ctx context.Context) error {
	if !g.made() {
		return nil
	}
	err := g.calls.close(ctx)
	g.closing.Do(func() {
		g.stop()
		g.watching.Wait()
		g.closed = errors.Join(err, g.ledger.unsaid())
		g.ledger.close()
		g.met.unregister()
		if errors.Is(g.closed, ErrUntold) {
			g.opts.Logger.Warn("closed while the node is detached: the other nodes may not know what it did", "err", g.closed)
		}
	})
	return g.closed
}
