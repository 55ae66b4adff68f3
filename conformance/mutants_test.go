// Some mutants race on purpose, which the race detector would count against the
// test; they are killed without it.

//go:build !race

package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// mutant is the memory backend, or the portable layer above it, with one fault.
type mutant struct {
	name   string
	check  string // that must fail
	driver func(driver.OpenFunc) driver.OpenFunc
	open   func(context.Context, backend.Config) (backend.ClusterChannel, error)
}

var mutants = []mutant{
	// Faults of a driver.
	{name: "drops the goodbye", check: "members/leave-is-prompt", driver: bend(dropLast)},
	{name: "alters bytes", check: "broadcast/any-bytes", driver: bend(frames(func(b []byte) [][]byte { return [][]byte{altered(b)} }))},
	{name: "delivers altered bytes, then the right ones", check: "broadcast/any-bytes", driver: bend(frames(func(b []byte) [][]byte { return [][]byte{altered(b), b} }))},
	{name: "truncates frames", check: "broadcast/reaches-others", driver: bend(cutMessages)},
	{name: "keeps the sender's buffer", check: "broadcast/buffer-not-kept", driver: bend(sendLater)},
	{name: "leaks a goroutine", check: "life/leaves-nothing", driver: bend(leakGoroutine)},
	{name: "leaks a descriptor", check: "life/leaves-nothing", driver: bend(leakDescriptor)},
	{name: "leaves a subscription", check: "life/leaves-nothing", driver: bend(leaveSubscription)},
	{name: "writes to stderr", check: "life/leaves-nothing", driver: bend(writeStderr)},
	{name: "ignores the cluster's name", check: "isolation/cluster-name", driver: bend(oneCluster)},
	{name: "listens to clusters of similar names", check: "isolation/foreign-data", driver: bend(cutCluster)},
	{name: "never attaches", check: "members/join", driver: bend(nothingIn)},
	{name: "one way link", check: "members/join", driver: bend(oneWay)},
	{name: "is slow", check: "members/join", driver: bend(slow)},
	{name: "loses large frames", check: "broadcast/size-matrix", driver: bend(loseOver(64 << 10))},
	{name: "claims a larger frame than it takes", check: "broadcast/size-matrix", driver: bend(claimFrame)},
	{name: "loses nine frames of ten", check: "members/no-flap", driver: bend(loseMost)},
	{name: "blocks whatever its context says", check: "life/close-any-time", driver: bend(blockOnClose)},
	{name: "calls back after Serve", check: "life/close-any-time", driver: bend(callLate)},
	{name: "never ends Close", check: "life/close-any-time", driver: bend(hangClose)},
	{name: "never ends Serve", check: "life/close-any-time", driver: bend(hangServe)},
	{name: "stops serving without a reason", check: "fault/server-restart", driver: bend(stopServing)},
	{name: "takes any parameter", check: "config/bad-params", driver: bend(anyParams)},
	{name: "prints secrets", check: "config/bad-params", driver: bend(printSecret)},
	{name: "claims to be attached", check: "config/unreachable-degrades", driver: bend(fakeLink)},
	{name: "gives up after an outage", check: "fault/server-restart", driver: bend(giveUp)},
	{name: "gives up after a partition", check: "fault/partition-heal", driver: bend(giveUpOnSilence(false))},
	{name: "gives up when half open", check: "fault/half-open", driver: bend(giveUpOnSilence(true))},
	{name: "dies of a bad frame", check: "broadcast/bad-peer-bytes", driver: bend(dieOfBadFrame)},

	// Faults of the portable layer.
	{name: "ignores the context of Open", check: "config/cancelled-context", open: func(_ context.Context, c backend.Config) (backend.ClusterChannel, error) {
		return backend.Open(context.Background(), c)
	}},
	{name: "opens an unknown backend", check: "config/unknown-backend", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		ch, err := backend.Open(ctx, c)
		if errors.Is(err, backend.ErrUnknownBackend) {
			err = errors.New("no such thing")
		}
		return ch, err
	}},
	{name: "has no metrics", check: "metrics/same-names", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.Registerer = nil
		return backend.Open(ctx, c)
	}},
	{name: "fails where the server is away", check: "config/unreachable-degrades", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.OnStartFailure = backend.Fail
		return backend.Open(ctx, c)
	}},
	{name: "mixes up the policies", check: "fault/long-outage", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.OnIsolation = backend.BecomeAlone
		return backend.Open(ctx, c)
	}},
	{name: "keeps no view", check: "fault/short-outage", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.Timing.Grace = time.Millisecond
		return backend.Open(ctx, c)
	}},
	{name: "never exchanges periodically", check: "sync/anti-entropy", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.Timing.Sync = time.Hour
		return backend.Open(ctx, c)
	}},
	{name: "does not list itself", check: "members/self-at-once", open: views(func(v *backend.View) { v.Members = nil })},
	{name: "does not sort", check: "members/join", open: views(func(v *backend.View) { slices.Reverse(v.Members) })},
	{name: "gives a wrong index", check: "position/is-index-of-self", open: views(func(v *backend.View) { v.Position = 0 })},
	{name: "counts positions from 1", check: "position/dense-and-unique", open: views(func(v *backend.View) { v.Position = min(v.Position+1, len(v.Members)-1) })},
	{name: "hides name conflicts", check: "members/same-name-twice", open: views(func(v *backend.View) {
		if errors.Is(v.Err, backend.ErrNameConflict) {
			v.Err = nil
		}
	})},
	{name: "takes a name for a member", check: "members/same-name-twice", open: views(oneOfEachName)},
	{name: "always says attached", check: "fault/half-open", open: views(func(v *backend.View) {
		if v.Status == backend.Detached {
			v.Status = backend.Attached
		}
	})},
	{name: "freezes the position", check: "position/shifts-on-leave", open: freezeWhenShrinking},
	{name: "never drops the dead", check: "members/crash-is-detected", open: freezeWhenShrinking},
	{name: "keeps those who left", check: "members/rejoin-after-leave", open: freezeWhenShrinking},
	{name: "keeps those who crashed", check: "members/rejoin-after-crash", open: freezeWhenShrinking},
	{name: "shares its slices", check: "members/snapshot-is-a-copy", open: shareView},
	{name: "loses events", check: "members/events-match", open: decorated(func(c *bentChannel) { c.watchOnce = true })},
	{name: "is ready at once", check: "ready/waits-for-sync", open: decorated(func(c *bentChannel) { c.readyAtOnce = true })},
	{name: "ignores the context of WaitReady", check: "ready/waits-for-sync", open: decorated(func(c *bentChannel) { c.readyNoContext = true })},
	{name: "closes once only", check: "life/close-any-time", open: decorated(func(c *bentChannel) { c.closeOnce = true })},
	{name: "takes payloads after Close", check: "life/close-any-time", open: broadcasts(func(c backend.Channel, b []byte) error {
		if err := c.TryBroadcast(b); !errors.Is(err, backend.ErrClosed) {
			return err
		}
		return nil
	})},
	{name: "echoes to the sender", check: "broadcast/reaches-others", open: decorated(func(c *bentChannel) { c.echo = true })},
	{name: "loses empty payloads", check: "broadcast/any-bytes", open: broadcasts(func(c backend.Channel, b []byte) error {
		if len(b) == 0 {
			return nil
		}
		return c.TryBroadcast(b)
	})},
	{name: "keeps the caller's buffer", check: "broadcast/buffer-not-kept", open: broadcasts(func(c backend.Channel, b []byte) error {
		time.AfterFunc(20*time.Millisecond, func() { c.Broadcast(b) })
		return nil
	})},
	{name: "loses some payloads for good", check: "broadcast/concurrent", open: decorated(func(c *bentChannel) {
		c.noState = true
		c.send = func(channel backend.Channel, b []byte) error {
			if b[len(b)-5] == 77 {
				return nil
			}
			return channel.TryBroadcast(b)
		}
	})},
	{name: "waits where the queue is full", check: "broadcast/never-blocks", open: broadcasts(func(c backend.Channel, b []byte) error {
		for deadline := time.Now().Add(2 * time.Second); ; {
			if err := c.TryBroadcast(b); !errors.Is(err, backend.ErrQueueFull) || time.Now().After(deadline) {
				return err
			}
		}
	})},
	{name: "is silent about a full queue", check: "broadcast/never-blocks", open: broadcasts(func(c backend.Channel, b []byte) error {
		if err := c.TryBroadcast(b); !errors.Is(err, backend.ErrQueueFull) {
			return err
		}
		return nil
	})},
	{name: "keeps what a full queue refused", check: "broadcast/never-blocks", open: keepsRefused},
	{name: "is silent about what is too large", check: "broadcast/size-matrix", open: broadcasts(func(c backend.Channel, b []byte) error {
		if err := c.TryBroadcast(b); !errors.Is(err, backend.ErrTooLarge) {
			return err
		}
		return nil
	})},
	{name: "loses its view under load", check: "position/steady-under-load", open: decorated(func(c *bentChannel) { c.loseUnderLoad = true })},
	{name: "merges on the caller's goroutine", check: "broadcast/reentrant", open: decorated(func(c *bentChannel) { c.inline = true })},
	{name: "sends an echo storm", check: "broadcast/reentrant", open: decorated(func(c *bentChannel) { c.storm = true })},
	{name: "mixes up keys", check: "broadcast/keys-apart", open: decorated(func(c *bentChannel) {
		c.key = func(k string) string { return strings.NewReplacer(".", ":", "*", ">").Replace(k) }
	})},
	{name: "merges one state at a time", check: "members/slow-merge-keeps-seat", open: decorated(func(c *bentChannel) { c.oneAtATime = true })},
	{name: "stops at the first bad state", check: "broadcast/one-bad-state", open: decorated(func(c *bentChannel) { c.stopAtError = true })},
	{name: "gives a joiner nothing", check: "sync/late-joiner", open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "gives a late state nothing", check: "sync/late-state", open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "takes nothing from a joiner", check: "sync/both-ways", open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "repairs no gap", check: "sync/gap", open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "loses large states", check: "sync/large", open: decorated(func(c *bentChannel) { c.noLargeState = true })},
	{name: "repairs nothing after a restart", check: "fault/server-emptied", open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "starts alone", check: "fault/islands", open: thirdAlone()},
	{name: "removes nothing", check: "life/add-remove-state", open: decorated(func(c *bentChannel) { c.keepRemoved = true })},
}

// bend makes a driver's fault out of b, anew for each driver.
func bend(b func(*bent)) func(driver.OpenFunc) driver.OpenFunc {
	return func(inner driver.OpenFunc) driver.OpenFunc {
		return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			d := &bent{options: o, opens: inner}
			b(d)
			inner, err := d.opens(ctx, d.options)
			if err != nil {
				return nil, err
			}
			d.Driver = inner
			return d, nil
		}
	}
}

// bent is a driver with a fault.
type bent struct {
	driver.Driver
	options driver.Options
	opens   driver.OpenFunc
	in      func(driver.Handler, []byte)
	out     func(context.Context, driver.Driver, []byte) error
	caps    func(driver.Caps) driver.Caps
	serve   func(context.Context, driver.Driver, driver.Handler) error
	close   func(context.Context, driver.Driver) error
}

func (d *bent) Broadcast(ctx context.Context, b []byte) error {
	if d.out != nil {
		return d.out(ctx, d.Driver, b)
	}
	return d.Driver.Broadcast(ctx, b)
}

func (d *bent) Serve(ctx context.Context, h driver.Handler) error {
	in := &bentHandler{Handler: h, frame: d.in}
	if d.serve != nil {
		return d.serve(ctx, d.Driver, in)
	}
	return d.Driver.Serve(ctx, in)
}

func (d *bent) Caps() driver.Caps {
	if d.caps != nil {
		return d.caps(d.Driver.Caps())
	}
	return d.Driver.Caps()
}

func (d *bent) Close(ctx context.Context) error {
	if d.close != nil {
		return d.close(ctx, d.Driver)
	}
	return d.Driver.Close(ctx)
}

type bentHandler struct {
	driver.Handler
	frame func(driver.Handler, []byte)
}

func (h *bentHandler) Frame(b []byte) {
	if h.frame != nil {
		h.frame(h.Handler, b)
		return
	}
	h.Handler.Frame(b)
}

// frames is a driver that delivers something else than it was given.
func frames(f func([]byte) [][]byte) func(*bent) {
	return func(d *bent) {
		d.in = func(h driver.Handler, b []byte) {
			for _, b := range f(bytes.Clone(b)) {
				h.Frame(b)
			}
		}
	}
}

// altered is a copy of b with one bit of a payload changed.
func altered(b []byte) []byte {
	b = bytes.Clone(b)
	if i := bytes.Index(b, []byte("ABCDEFGH")); i >= 0 {
		b[i] ^= 1
	}
	return b
}

// dropLast sends each frame when the next one comes, and so the last one never.
func dropLast(d *bent) {
	var mu sync.Mutex
	var held []byte
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		last := held
		held = bytes.Clone(b)
		if last == nil {
			return nil
		}
		return inner.Broadcast(ctx, last)
	}
}

func cutMessages(d *bent) {
	d.in = func(h driver.Handler, b []byte) {
		if bytes.Contains(b, []byte("message")) {
			b = b[:len(b)-3]
		}
		h.Frame(b)
	}
}

func sendLater(d *bent) {
	queue := make(chan []byte, 1000)
	var wg sync.WaitGroup
	wg.Go(func() {
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for b := range queue {
			<-pace.C
			_ = d.Driver.Broadcast(context.Background(), b)
		}
	})
	var mu sync.Mutex
	closed := false
	d.out = func(_ context.Context, _ driver.Driver, b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if !closed {
			queue <- b
		}
		return nil
	}
	d.close = func(ctx context.Context, inner driver.Driver) error {
		mu.Lock()
		defer mu.Unlock()
		if !closed {
			closed = true
			close(queue)
			wg.Wait()
		}
		return inner.Close(ctx)
	}
}

// leaks is what a leaking mutant would hold for ever; the test ends it.
var leaks struct {
	sync.Mutex
	end []func()
}

func leak(end func()) {
	leaks.Lock()
	defer leaks.Unlock()
	leaks.end = append(leaks.end, end)
}

func endLeaks() {
	leaks.Lock()
	defer leaks.Unlock()
	for _, end := range leaks.end {
		end()
	}
	leaks.end = nil
}

func leakGoroutine(*bent) {
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-stop
	}()
	leak(func() {
		close(stop)
		<-ended
	})
}

func leakDescriptor(*bent) {
	if f, err := os.Open(os.DevNull); err == nil {
		leak(func() { _ = f.Close() })
	}
}

func leaveSubscription(d *bent) {
	d.close = func(_ context.Context, inner driver.Driver) error {
		leak(func() { _ = inner.Close(context.Background()) })
		return nil
	}
}

func writeStderr(*bent) { fmt.Fprintln(os.Stderr, "mutant: a library writes to stderr") }

func oneCluster(d *bent) { d.options.Cluster = "one for all" }

func cutCluster(d *bent) { d.options.Cluster = d.options.Cluster[:max(1, len(d.options.Cluster)-1)] }

func nothingIn(d *bent) { d.in = func(driver.Handler, []byte) {} }

func oneWay(d *bent) {
	own := []byte(d.options.Self.Instance)
	d.in = func(h driver.Handler, b []byte) {
		if d.options.Self.Name != "b" || bytes.Contains(b, own) {
			h.Frame(b)
		}
	}
}

func slow(d *bent) {
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		select {
		case <-time.After(3 * time.Second):
			return inner.Broadcast(ctx, b)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func loseOver(size int) func(*bent) {
	return func(d *bent) {
		d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
			if len(b) > size {
				return nil
			}
			return inner.Broadcast(ctx, b)
		}
	}
}

func claimFrame(d *bent) {
	d.caps = func(c driver.Caps) driver.Caps {
		c.MaxFrame = 64 << 10
		return c
	}
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		if len(b) > 32<<10 {
			return driver.ErrTooLarge
		}
		return inner.Broadcast(ctx, b)
	}
}

func loseMost(d *bent) {
	var n atomic.Int64
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		if i := n.Add(1); i > 30 && i%30 != 0 {
			return nil
		}
		return inner.Broadcast(ctx, b)
	}
}

func blockOnClose(d *bent) {
	stop := make(chan struct{})
	leak(func() { close(stop) })
	var n atomic.Int64
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		if n.Add(1) > 3 {
			<-stop
		}
		return inner.Broadcast(ctx, b)
	}
}

func callLate(d *bent) {
	d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
		err := inner.Serve(ctx, h)
		time.AfterFunc(10*time.Millisecond, func() { h.Frame([]byte("late")) })
		return err
	}
}

func hangClose(d *bent) {
	stop := make(chan struct{})
	leak(func() { close(stop) })
	d.close = func(ctx context.Context, inner driver.Driver) error {
		<-stop
		return inner.Close(ctx)
	}
}

func hangServe(d *bent) {
	stop := make(chan struct{})
	leak(func() { close(stop) })
	d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
		err := inner.Serve(ctx, h)
		<-stop
		return err
	}
}

func stopServing(d *bent) {
	d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
		_ = inner.Serve(ctx, h)
		return nil
	}
}

func anyParams(d *bent) { d.options.Params = nil }

func printSecret(d *bent) {
	inner := d.opens
	d.opens = func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		opened, err := inner(ctx, o)
		if err != nil {
			err = fmt.Errorf("%w: %v", err, o.Params)
		}
		return opened, err
	}
}

// fakeLink hears itself where the server is away.
func fakeLink(d *bent) {
	inner := d.opens
	d.opens = func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		opened, err := inner(ctx, o)
		if errors.Is(err, driver.ErrUnavailable) {
			return mirror{make(chan []byte, 100)}, nil
		}
		return opened, err
	}
}

type mirror struct{ frames chan []byte }

func (m mirror) Broadcast(_ context.Context, b []byte) error {
	m.frames <- bytes.Clone(b)
	return nil
}

func (m mirror) Serve(ctx context.Context, h driver.Handler) error {
	h.Link(nil)
	for {
		select {
		case b := <-m.frames:
			h.Frame(b)
		case <-ctx.Done():
			return nil
		}
	}
}
func (mirror) Caps() driver.Caps           { return driver.Caps{} }
func (mirror) Close(context.Context) error { return nil }

// giveUp opens once for each node.
func giveUp(d *bent) {
	inner := d.opens
	d.opens = func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		if _, again := openedOnce.LoadOrStore(o.Self.Instance, true); again {
			return nil, fmt.Errorf("mutant: %w", driver.ErrUnavailable)
		}
		return inner(ctx, o)
	}
}

var openedOnce sync.Map

// fate is a node's fault, which lasts when its driver is opened again.
type fate struct {
	mu   sync.Mutex
	last time.Time // when a frame came
	dead bool
}

var fates sync.Map // of *fate, by instance

func (d *bent) fate() *fate {
	v, _ := fates.LoadOrStore(d.options.Self.Instance, &fate{last: time.Now()})
	return v.(*fate)
}

// meet takes note of a frame and reports whether the node is dead.
func (f *fate) meet(kill func(since time.Duration) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = f.dead || kill(time.Since(f.last))
	return f.dead
}

// giveUpOnSilence delivers nothing more once no frame of its own, or of the
// others, has come for a while.
func giveUpOnSilence(ofOwn bool) func(*bent) {
	return func(d *bent) {
		f, own := d.fate(), []byte(d.options.Self.Instance)
		d.in = func(h driver.Handler, b []byte) {
			dead := f.meet(func(since time.Duration) bool {
				if bytes.Contains(b, own) != ofOwn {
					return false
				}
				f.last = time.Now()
				return since > 300*time.Millisecond
			})
			if !dead {
				h.Frame(b)
			}
		}
	}
}

func dieOfBadFrame(d *bent) {
	f := d.fate()
	d.in = func(h driver.Handler, b []byte) {
		if !f.meet(func(time.Duration) bool { return len(b) == 0 }) {
			h.Frame(b)
		}
	}
}

// views alters every view of a channel.
func views(alter func(*backend.View)) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return decorated(func(c *bentChannel) {
		c.view = func(v backend.View) backend.View {
			alter(&v)
			return v
		}
	})
}

func oneOfEachName(v *backend.View) {
	self := v.Self()
	v.Members = slices.DeleteFunc(v.Members, func(m backend.Member) bool { return m.Name == self.Name && m.Instance != self.Instance })
	v.Position = slices.IndexFunc(v.Members, func(m backend.Member) bool { return m.Instance == self.Instance })
}

// freezeWhenShrinking keeps a view from which somebody is gone.
func freezeWhenShrinking(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
	return decorated(func(c *bentChannel) {
		var mu sync.Mutex
		var kept backend.View
		c.view = func(v backend.View) backend.View {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range kept.Members {
				if !slices.ContainsFunc(v.Members, func(o backend.Member) bool { return o.Instance == m.Instance }) {
					return kept
				}
			}
			kept = v
			return v
		}
	})(ctx, config)
}

func shareView(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
	return decorated(func(c *bentChannel) {
		var mu sync.Mutex
		var kept backend.View
		c.view = func(v backend.View) backend.View {
			mu.Lock()
			defer mu.Unlock()
			if kept.Epoch != v.Epoch {
				kept = v
			}
			return kept
		}
	})(ctx, config)
}

// broadcasts sends payloads by send.
func broadcasts(send func(backend.Channel, []byte) error) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return decorated(func(c *bentChannel) { c.send = send })
}

// keepsRefused keeps a copy of each payload that the queue refused.
func keepsRefused(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
	var mu sync.Mutex
	var kept [][]byte
	return broadcasts(func(c backend.Channel, b []byte) error {
		err := c.TryBroadcast(b)
		if errors.Is(err, backend.ErrQueueFull) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, bytes.Clone(b))
		}
		return err
	})(ctx, config)
}

// thirdAlone opens every third node in a cluster of its own after the first
// three.
func thirdAlone() func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	var opened atomic.Int64
	return func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		if opened.Add(1) == 6 {
			c.Cluster += "-island"
		}
		return backend.Open(ctx, c)
	}
}

func decorated(bend func(*bentChannel)) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return func(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
		channel, err := backend.Open(ctx, config)
		if err != nil {
			return nil, err
		}
		c := &bentChannel{ClusterChannel: channel}
		bend(c)
		return c, nil
	}
}

// bentChannel is a channel with a fault.
type bentChannel struct {
	backend.ClusterChannel
	view func(backend.View) backend.View
	send func(backend.Channel, []byte) error
	key  func(string) string

	watchOnce, readyAtOnce, readyNoContext, closeOnce           bool
	echo, storm, oneAtATime, stopAtError, noState, noLargeState bool
	keepRemoved, loseUnderLoad, inline                          bool

	merging sync.Mutex
	stopped atomic.Bool
	sent    atomic.Int64
	closed  atomic.Bool
}

func (c *bentChannel) View() backend.View {
	v := c.ClusterChannel.View()
	if c.view != nil {
		v = c.view(v)
	}
	if c.loseUnderLoad && c.sent.Load() > 50 {
		v.Members = v.Members[v.Position : v.Position+1]
		v.Position = 0
	}
	return v
}

func (c *bentChannel) Members() []backend.Member { return c.View().Members }
func (c *bentChannel) Position() int             { return c.View().Position }

func (c *bentChannel) Watch(ctx context.Context) iter.Seq[backend.View] {
	return func(yield func(backend.View) bool) {
		for range c.ClusterChannel.Watch(ctx) {
			if !yield(c.View()) {
				return
			}
			if c.watchOnce {
				<-ctx.Done()
				return
			}
		}
	}
}

func (c *bentChannel) WaitReady(ctx context.Context) error {
	switch {
	case c.readyAtOnce:
		return nil
	case c.readyNoContext:
		return c.ClusterChannel.WaitReady(context.WithoutCancel(ctx))
	}
	return c.ClusterChannel.WaitReady(ctx)
}

func (c *bentChannel) Close(ctx context.Context) error {
	if again := c.closed.Swap(true); again && c.closeOnce {
		return errors.New("closed twice")
	}
	return c.ClusterChannel.Close(ctx)
}

func (c *bentChannel) AddState(key string, s backend.State, o *backend.StateOptions) (backend.Channel, error) {
	if c.key != nil {
		key = c.key(key)
	}
	st := &bentState{State: s, owner: c}
	channel, err := c.ClusterChannel.AddState(key, st, o)
	if err != nil {
		return nil, err
	}
	if c.storm {
		st.shadow, _ = c.ClusterChannel.AddState("shadow of "+key, stateFuncs{func() ([]byte, error) { return nil, nil }, func([]byte) error { return nil }}, nil)
	}
	return &bentSender{Channel: channel, owner: c, state: s}, nil
}

type bentSender struct {
	backend.Channel
	owner *bentChannel
	state backend.State
}

func (s *bentSender) Broadcast(b []byte) { _ = s.TryBroadcast(b) }

func (s *bentSender) TryBroadcast(b []byte) error {
	s.owner.sent.Add(1)
	if s.owner.echo {
		_ = s.state.Merge(bytes.Clone(b))
	}
	if s.owner.inline {
		merged := make(chan struct{})
		go func() {
			defer close(merged)
			_ = s.state.Merge(bytes.Clone(b))
		}()
		select {
		case <-merged:
		case <-time.After(10 * time.Second): // longer than the check may take, not for ever
		}
	}
	if s.owner.send != nil {
		return s.owner.send(s.Channel, b)
	}
	return s.Channel.TryBroadcast(b)
}

func (s *bentSender) Remove() {
	if !s.owner.keepRemoved {
		s.Channel.Remove()
	}
}

type bentState struct {
	backend.State
	owner  *bentChannel
	shadow backend.Channel
}

func (s *bentState) Merge(b []byte) error {
	c := s.owner
	if c.oneAtATime {
		c.merging.Lock()
		defer c.merging.Unlock()
	}
	if c.stopAtError && c.stopped.Load() {
		return nil
	}
	err := s.State.Merge(b)
	if err != nil {
		c.stopped.Store(true)
	}
	if s.shadow != nil {
		s.shadow.Broadcast(b)
	}
	return err
}

func (s *bentState) MarshalBinary() ([]byte, error) {
	b, err := s.State.MarshalBinary()
	if s.owner.noState || s.owner.noLargeState && len(b) > 1<<20 {
		return nil, err
	}
	return b, err
}

// TestMutants runs for each mutant the one check that must find it.
func TestMutants(t *testing.T) {
	defer allEnd(t)
	free := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for _, alone := range []bool{false, true} {
		for _, m := range mutants {
			c := find(m.check)
			if c == nil {
				t.Errorf("%s: there is no check %q", m.name, m.check)
				continue
			}
			if c.alone != alone {
				continue
			}
			free <- struct{}{}
			wg.Go(func() {
				defer func() { <-free }()
				t.Run(m.name, func(t *testing.T) { m.mustDie(t, c) })
			})
			if alone {
				wg.Wait()
			}
		}
		wg.Wait()
	}
}

// allEnd ends what mutants have leaked, and waits for the checks that were given
// up as hanging.
func allEnd(t *testing.T) {
	deadline := time.Now().Add(time.Minute)
	for {
		endLeaks() // a check that was given up may go on, and leak more
		err := goleak.Find()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (m mutant) mustDie(t *testing.T, c *check) {
	h := memoryHarness()
	h.limit = 8 * time.Second
	h.channel = m.open
	if m.driver != nil {
		sound := h.Driver
		h.Driver = func(t testing.TB, n Node) driver.OpenFunc { return m.driver(sound(t, n)) }
	}
	q := &quiet{TB: t}
	if c.run(q, newSuite(t, h)) {
		t.Errorf("a backend that %s passes %s", m.name, m.check)
		return
	}
	t.Logf("%-45s x %-28s %s", m.name, m.check, q.first())
}

func TestEveryCheckHasAMutant(t *testing.T) {
	for _, c := range checks {
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.check == c.name }) {
			t.Errorf("no mutant is meant for %s: it is not yet a check", c.name)
		}
	}
}
