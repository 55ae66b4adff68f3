//go:build !race

package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// bend makes a driver's fault from b, a new one for each driver.
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

// frames is a driver that alters what it delivers.
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

// closesInSilence sends nothing more once Close was called.
func closesInSilence(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
	var closing atomic.Bool
	config.Driver = bend(func(d *bent) {
		d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
			if closing.Load() {
				return nil
			}
			return inner.Broadcast(ctx, b)
		}
	})(config.Driver)
	return decorated(func(c *bentChannel) { c.closing = &closing })(ctx, config)
}

// loseKind loses the frames of one kind.
func loseKind(kind wire.Kind) func(*bent) {
	return func(d *bent) {
		d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
			var f wire.Frame
			if wire.Decode(b, &f) == nil && f.Kind == kind {
				return nil
			}
			return inner.Broadcast(ctx, b)
		}
	}
}

// kept is a frame of one kind that went out.
type kept struct {
	mu    sync.Mutex
	frame []byte
}

func (k *kept) note(b []byte, kinds ...wire.Kind) {
	var f wire.Frame
	if wire.Decode(b, &f) == nil && slices.Contains(kinds, f.Kind) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.frame = bytes.Clone(b)
	}
}

func (k *kept) last() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.frame
}

// askForEver asks with each heartbeat for what it asked for last.
func askForEver(d *bent) {
	var asked kept
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		asked.note(b, wire.Missing)
		var f wire.Frame
		if wire.Decode(b, &f) == nil && f.Kind == wire.Heartbeat && asked.last() != nil {
			_ = inner.Broadcast(ctx, asked.last())
		}
		return inner.Broadcast(ctx, b)
	}
}

// answerAll sends the last answer of its that held data, or a piece of it, to whoever
// asks.
func answerAll(d *bent) {
	var answer kept
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		if len(b) > 4<<10 {
			answer.note(b, wire.Answer, wire.Chunk)
		}
		return inner.Broadcast(ctx, b)
	}
	d.in = func(h driver.Handler, b []byte) {
		var f wire.Frame
		if wire.Decode(b, &f) == nil && f.Kind == wire.Pull && answer.last() != nil {
			_ = d.Driver.Broadcast(context.Background(), answer.last())
		}
		h.Frame(b)
	}
}

// passOn broadcasts what it hears of strangers, but not what comes back.
func passOn(d *bent) {
	d.in = func(h driver.Handler, b []byte) {
		var f wire.Frame
		if wire.Decode(b, &f) == nil && bytes.HasPrefix(f.Origin, []byte("stranger")) && len(b) < 4<<10 {
			_ = d.Driver.Broadcast(context.Background(), append(bytes.Clone(b), make([]byte, 8<<10)...))
		}
		h.Frame(b)
	}
}

// portable has the portable layer do what a driver with a fault does.
func portable(b func(*bent)) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return func(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
		config.Driver = bend(b)(config.Driver)
		return backend.Open(ctx, config)
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
	own := d.options.Self.Instance
	d.in = func(h driver.Handler, b []byte) {
		var f wire.Frame
		if d.options.Self.Name != "b" || wire.Decode(b, &f) == nil && string(f.Origin) == own {
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

// blockOnClose blocks at the frame for which Close waits: at another one Close may end
// in time.
func blockOnClose(d *bent) {
	stop := make(chan struct{})
	leak(func() { close(stop) })
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		var f wire.Frame
		if wire.Decode(b, &f) == nil && f.Kind == wire.Goodbye {
			<-stop
		}
		return inner.Broadcast(ctx, b)
	}
}

func init() {
	backend.Register("addressed", driver.Backend{Open: memory.Open, Params: struct {
		Address string `param:"address"`
	}{}})
}

// showAddress says which address it cannot use, with all that is in it.
func showAddress(inner driver.OpenFunc) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		if a := o.Params["address"]; a != "" {
			return nil, params.Bad("address", "%q cannot be used", a)
		}
		return inner(ctx, o)
	}
}

// hangInOpen has a client library that dials until it succeeds.
func hangInOpen(inner driver.OpenFunc) driver.OpenFunc {
	stop := make(chan struct{})
	leak(func() { close(stop) })
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := inner(context.WithoutCancel(ctx), o)
		if err == nil {
			err = d.Broadcast(ctx, []byte("is it there?"))
		}
		if errors.Is(err, driver.ErrUnavailable) {
			<-stop
		}
		return d, err
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

// fakeLink hears itself while the server is away.
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

// meet notes a frame and reports whether the node is dead.
func (f *fate) meet(kill func(since time.Duration) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = f.dead || kill(time.Since(f.last))
	return f.dead
}

// giveUpOnSilence delivers nothing more once it has received no frame of its
// own, or of the others, for a while.
func giveUpOnSilence(ofOwn bool) func(*bent) {
	return func(d *bent) {
		f, own := d.fate(), d.options.Self.Instance
		d.in = func(h driver.Handler, b []byte) {
			var frame wire.Frame // whose origin counts: others name this node too
			isOwn := wire.Decode(b, &frame) == nil && string(frame.Origin) == own
			dead := f.meet(func(since time.Duration) bool {
				if isOwn != ofOwn {
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
