//go:build !race

package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// brokerMutants are what authors of drivers for brokers get wrong.
var brokerMutants = []mutant{
	// Names.
	{name: "folds the cluster's name", check: "names/clusters", driver: clusterAs(strings.ToLower)},
	{name: "trims the cluster's name", check: "names/clusters", driver: clusterAs(strings.TrimSpace)},
	{name: "cuts the cluster's name at 199 bytes", check: "names/clusters", driver: clusterAs(func(c string) string { return c[:min(199, len(c))] })},
	{name: "ends the cluster's name at a NUL", check: "names/clusters", driver: clusterAs(func(c string) string { c, _, _ = strings.Cut(c, "\x00"); return c })},
	{name: "unescapes the cluster's name", check: "names/clusters", driver: clusterAs(func(c string) string {
		if u, err := url.PathUnescape(c); err == nil {
			return u
		}
		return c
	})},
	{name: "composes the cluster's name", check: "names/clusters", driver: clusterAs(func(c string) string { return strings.ReplaceAll(c, "e\u0301", "\u00e9") })},
	{name: "replaces what a subject may not hold", check: "names/clusters", driver: clusterAs(strings.NewReplacer("/", "_", ".", "_").Replace)},
	{name: "leaves out what is not ASCII", check: "names/clusters", driver: clusterAs(func(c string) string {
		return strings.Map(func(r rune) rune {
			if r > 126 {
				return -1
			}
			return r
		}, c)
	})},
	{name: "subscribes with a wildcard of MQTT", check: "names/clusters", driver: bend(hearsToo("/+", "/b"))},
	{name: "subscribes with a wildcard of NATS", check: "names/clusters", driver: bend(hearsToo(".*", ".b"))},
	{name: "asks by LIKE", check: "names/clusters", driver: bend(hearsToo("_b", "+b"))},
	{name: "is one client for all names with the same 23 characters", check: "names/members", driver: oneClient(func(o driver.Options) string { return o.Self.Name[:min(23, len(o.Self.Name))] })},
	{name: "is one client for names that differ in case", check: "names/members", driver: oneClient(func(o driver.Options) string { return strings.ToLower(o.Self.Name) })},
	{name: "is one client for a name", check: "members/same-name-twice", driver: oneClient(func(o driver.Options) string { return o.Self.Name })},

	// Subscriptions.
	{name: "is subscribed a moment after Open", check: "driver/subscribed-first", driver: bend(subscribedAfter(50 * time.Millisecond))},
	{name: "hears no own frames", check: "members/join", driver: bend(noLocal)},
	{name: "shares a subscription, as a group", check: "broadcast/reaches-others", driver: bend(inGroup)},
	{name: "hands over what is retained", check: "driver/nothing-stale", driver: bend(replays(1))},
	{name: "begins at the start of the stream", check: "driver/nothing-stale", driver: bend(replays(1000))},
	{name: "hands over what is retained, later than it says", check: "driver/nothing-older", driver: bend(lingering(2*time.Second, replays(1)))},
	{name: "keeps its session when it is closed", check: "driver/nothing-stale", driver: bend(keepsSession)},
	{name: "reconnects in silence", check: "loss/is-told", driver: reconnects{subscribes: 10 * time.Millisecond}.over},
	{name: "reconnects and does not subscribe", check: "loss/is-told", driver: reconnects{subscribes: time.Hour}.over},
	{name: "says that it is attached before it has subscribed again", check: "loss/is-told", driver: reconnects{subscribes: 50 * time.Millisecond, tells: true}.over},
	{name: "says now and then that it is attached", check: "members/no-flap", driver: bend(attachedAgain)},
	{name: "never says that it is attached", check: "members/join", driver: bend(neverAttached)},

	// Frames.
	{name: "changes the frame that it sends", check: "broadcast/buffer-not-kept", driver: bend(changesFrame)},
	{name: "appends to the frame that it sends", check: "broadcast/buffer-not-kept", driver: bend(appendsToFrame)},
	{name: "builds messages in one buffer", check: "driver/many-senders", driver: bend(oneBuffer)},
	{name: "sends one at a time, and the others fail", check: "driver/many-senders", driver: bend(busy)},
	{name: "takes frames for text", check: "broadcast/any-bytes", driver: bend(frames(func(b []byte) [][]byte { return [][]byte{bytes.ToValidUTF8(b, []byte("\uFFFD"))} }))},
	{name: "trims frames", check: "broadcast/any-bytes", driver: bend(frames(func(b []byte) [][]byte { return [][]byte{bytes.TrimRight(b, "\x00\r\n ")} }))},
	{name: "splits frames at line breaks", check: "broadcast/any-bytes", driver: bend(frames(func(b []byte) [][]byte { return bytes.SplitAfter(b, []byte("\n")) }))},
	{name: "refuses a frame of just its limit", check: "driver/frame-limit", driver: bend(limited(func(size, limit int) (bool, error) {
		if size >= limit {
			return false, driver.ErrTooLarge
		}
		return true, nil
	}))},
	{name: "loses a frame of just its limit", check: "driver/frame-limit", driver: bend(limited(func(size, limit int) (bool, error) { return size < limit, nil }))},
	{name: "takes a byte more than its limit", check: "driver/frame-limit", driver: bend(limited(func(size, limit int) (bool, error) { return size <= limit, nil }))},
	{name: "refuses what is too large without saying so", check: "driver/frame-limit", driver: bend(limited(func(size, limit int) (bool, error) {
		if size > limit {
			return false, errors.New("mutant: the server has closed the connection")
		}
		return true, nil
	}))},

	// The end.
	{name: "drops what it has accepted when it is closed", check: "driver/closed", driver: bend(dropsQueue)},
	{name: "takes frames after Close", check: "driver/closed", driver: bend(afterClose(func() error { return nil }))},
	{name: "fails after Close without saying why", check: "driver/closed", driver: bend(afterClose(func() error { return errors.New("mutant: use of closed connection") }))},
	{name: "panics after Close", check: "driver/closed", driver: bend(afterClose(func() error { panic("mutant: send on closed channel") }))},
	{name: "waits in Close for a Serve that never was", check: "driver/closed", driver: bend(waitsForServe)},

	// Losses.
	{name: "leaves a goroutine with each lost link", check: "loss/leaves-nothing", driver: bend(whenLost(leakGoroutine))},
	{name: "leaves a descriptor with each lost link", check: "loss/leaves-nothing", driver: bend(whenLost(leakDescriptor))},
	{name: "writes to stderr when the link is lost", check: "loss/leaves-nothing", driver: bend(whenLost(writeStderr))},
	{name: "writes to stdout when the link is lost", check: "loss/leaves-nothing", driver: bend(whenLost(writeStdout))},
	{name: "leaves a goroutine when Open fails", check: "loss/failed-open", driver: whenRefused(leakGoroutine)},
	{name: "leaves a descriptor when Open fails", check: "loss/failed-open", driver: whenRefused(leakDescriptor)},
	{name: "writes to stderr when Open fails", check: "loss/failed-open", driver: whenRefused(writeStderr)},
	{name: "writes to stdout when Open fails", check: "loss/failed-open", driver: whenRefused(writeStdout)},
	{name: "writes to stdout", check: "life/leaves-nothing", driver: bend(writeStdout)},
	{name: "does not say that it may help to try again", check: "loss/failed-open", driver: plainErrors},
	{name: "takes a server that is away for bad configuration", check: "config/unreachable-degrades", driver: configErrors},

	// Parameters.
	{name: "checks its parameters after it has dialled", check: "config/before-dialling", driver: dialsFirst},
	{name: "takes a parameter in capitals", check: "config/before-dialling", driver: keysAs(strings.ToLower)},
	{name: "takes a parameter with dashes", check: "config/before-dialling", driver: keysAs(func(k string) string { return strings.ReplaceAll(k, "-", "_") })},
	{name: "takes a parameter with a blank", check: "config/before-dialling", driver: keysAs(strings.TrimSpace)},
	{name: "does not read a parameter", check: "config/before-dialling", driver: unread("max_frame")},
	{name: "takes parameters from what it was given", check: "members/rejoin-after-leave", driver: takesParams},
	{name: "prints its address", check: "config/secrets", backend: "addressed", driver: printsAddress},
	{name: "logs its parameters", check: "config/secrets", backend: "addressed", driver: logsParams},
}

func init() { mutants = slices.Concat(mutants, rosterMutants, brokerMutants) }

// clusterAs is a driver that knows clusters by another name.
func clusterAs(name func(string) string) func(driver.OpenFunc) driver.OpenFunc {
	return bend(func(d *bent) { d.options.Cluster = name(d.options.Cluster) })
}

// hearsToo has a cluster whose name ends with wild hear the frames of the one whose
// name ends with plain.
func hearsToo(wild, plain string) func(*bent) {
	return func(d *bent) {
		base, is := strings.CutSuffix(d.options.Cluster, wild)
		if !is {
			return
		}
		o := d.options
		o.Cluster = base + plain
		d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
			other, err := d.opens(ctx, o)
			if err != nil {
				return err
			}
			inside, end := context.WithCancel(ctx)
			var wg sync.WaitGroup
			wg.Go(func() { _ = other.Serve(inside, h) })
			err = inner.Serve(ctx, h)
			end()
			wg.Wait()
			_ = other.Close(context.WithoutCancel(ctx))
			return err
		}
	}
}

// oneClient is a broker on which a client ends the session of another one with the
// same identity.
func oneClient(identity func(driver.Options) string) func(driver.OpenFunc) driver.OpenFunc {
	var mu sync.Mutex
	ends := map[string]context.CancelFunc{}
	return bend(func(d *bent) {
		session, end := context.WithCancel(context.Background())
		id := d.options.Cluster + "/" + identity(d.options)
		mu.Lock()
		if other := ends[id]; other != nil {
			other()
		}
		ends[id] = end
		mu.Unlock()
		d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
			inside, stop := context.WithCancel(ctx)
			defer stop()
			defer context.AfterFunc(session, stop)()
			err := inner.Serve(inside, h)
			if ctx.Err() == nil {
				return errors.Join(err, driver.ErrUnavailable)
			}
			return err
		}
	})
}

func subscribedAfter(wait time.Duration) func(*bent) {
	return func(d *bent) {
		from := time.Now().Add(wait)
		d.in = func(h driver.Handler, b []byte) {
			if time.Now().After(from) {
				h.Frame(b)
			}
		}
		d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error { // frames wait for Serve no longer
			return inner.Serve(ctx, h)
		}
	}
}

func originOf(b []byte) string {
	var f wire.Frame
	if wire.Decode(b, &f) != nil {
		return ""
	}
	return string(f.Origin)
}

func isMark(b []byte) bool { return strings.HasPrefix(originOf(b), markOrigin) }

func noLocal(d *bent) {
	own := d.options.Self.Instance
	d.in = func(h driver.Handler, b []byte) {
		if originOf(b) != own {
			h.Frame(b)
		}
	}
}

// inGroup has each frame go to one of the nodes, except own ones.
func inGroup(d *bent) {
	own := d.options.Self.Instance
	d.in = func(h driver.Handler, b []byte) {
		var f wire.Frame
		if wire.Decode(b, &f) != nil || string(f.Origin) == own || f.Kind == wire.Heartbeat || d.options.Self.Name == "b" {
			h.Frame(b)
		}
	}
}

// streams is what a broker has kept, by the server and the cluster.
var streams sync.Map // of *stream

type stream struct {
	mu   sync.Mutex
	kept [][]byte
}

func (d *bent) stream() *stream {
	v, _ := streams.LoadOrStore(d.options.Params["bus"]+"/"+d.options.Cluster, &stream{})
	return v.(*stream)
}

func (s *stream) last(n int) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kept[max(0, len(s.kept)-n):])
}

// replays hands the last frames of a stream to each new subscriber; with one, that of
// a check.
func replays(n int) func(*bent) {
	return func(d *bent) {
		s := d.stream()
		d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
			if n > 1 || isMark(b) {
				s.mu.Lock()
				s.kept = append(s.kept, bytes.Clone(b))
				s.mu.Unlock()
			}
			return inner.Broadcast(ctx, b)
		}
		old := s.last(n)
		d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
			for _, b := range old {
				h.(*bentHandler).Handler.Frame(b)
			}
			return inner.Serve(ctx, h)
		}
	}
}

// lingering says that frames may linger for so long, beside another fault.
func lingering(most time.Duration, fault func(*bent)) func(*bent) {
	return func(d *bent) {
		d.caps = func(c driver.Caps) driver.Caps {
			c.Linger = most
			return c
		}
		fault(d)
	}
}

// sessions are those that outlive their clients, by instance.
var sessions sync.Map // of *stream

// keepsSession hands over again what the client has not confirmed, and it confirms
// nothing.
func keepsSession(d *bent) {
	v, _ := sessions.LoadOrStore(d.options.Self.Instance, &stream{})
	s := v.(*stream)
	old := s.last(100)
	d.in = func(h driver.Handler, b []byte) {
		s.mu.Lock()
		s.kept = append(s.kept, bytes.Clone(b))
		s.mu.Unlock()
		h.Frame(b)
	}
	d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
		for _, b := range old {
			h.(*bentHandler).Handler.Frame(b)
		}
		return inner.Serve(ctx, h)
	}
}

// reconnects is a client library that reconnects by itself.
type reconnects struct {
	subscribes time.Duration // how long after it has connected
	tells      bool          // that it is attached, before that
}

func (r reconnects) over(inner driver.OpenFunc) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := inner(ctx, o)
		if err != nil {
			return nil, err
		}
		return &reconnecting{reconnects: r, opens: inner, options: o, inner: d}, nil
	}
}

type reconnecting struct {
	reconnects
	opens   driver.OpenFunc
	options driver.Options

	mu    sync.Mutex
	inner driver.Driver
}

func (d *reconnecting) now() driver.Driver {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inner
}

func (d *reconnecting) Caps() driver.Caps { return d.now().Caps() }
func (d *reconnecting) Broadcast(ctx context.Context, b []byte) error {
	return d.now().Broadcast(ctx, b)
}
func (d *reconnecting) Close(ctx context.Context) error { return d.now().Close(ctx) }

func (d *reconnecting) Serve(ctx context.Context, h driver.Handler) error {
	deaf := &bentHandler{Handler: unlinked{h}}
	h.Link(nil)
	for ctx.Err() == nil {
		if d.now().Serve(ctx, deaf) == nil {
			return nil
		}
		for ctx.Err() == nil {
			next, err := d.opens(ctx, d.options)
			if err == nil {
				d.mu.Lock()
				_ = d.inner.Close(ctx)
				d.inner = next
				d.mu.Unlock()
				break
			}
			<-time.After(time.Millisecond)
		}
		from := time.Now().Add(d.subscribes)
		deaf = &bentHandler{Handler: unlinked{h}, frame: func(h driver.Handler, b []byte) {
			if time.Now().After(from) {
				h.Frame(b)
			}
		}}
		if d.tells {
			h.Link(nil)
		}
	}
	return nil
}

// unlinked is a handler that is told nothing of the link.
type unlinked struct{ driver.Handler }

func (unlinked) Link(error) {}

func attachedAgain(d *bent) {
	d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
		inside, end := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-time.After(time.Second):
					h.Link(nil)
				case <-inside.Done():
					return
				}
			}
		})
		err := inner.Serve(ctx, h)
		end()
		wg.Wait()
		return err
	}
}

func neverAttached(d *bent) {
	d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
		return inner.Serve(ctx, &bentHandler{Handler: unlinked{h}})
	}
}

func changesFrame(d *bent) {
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		err := inner.Broadcast(ctx, b)
		if len(b) > 0 {
			b[len(b)-1] ^= 1
		}
		return err
	}
}

func appendsToFrame(d *bent) {
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		sum := append(b, 0, 0, 0, 1)
		return inner.Broadcast(ctx, sum[:len(b)])
	}
}

// oneBuffer builds each message in the same buffer, and sends it a moment later.
func oneBuffer(d *bent) {
	var mu sync.Mutex
	var buf []byte
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		mu.Lock()
		buf = append(buf[:0], b...)
		mu.Unlock()
		<-time.After(time.Millisecond)
		mu.Lock()
		message := bytes.Clone(buf[:min(len(b), len(buf))])
		mu.Unlock()
		return inner.Broadcast(ctx, message)
	}
}

func busy(d *bent) {
	var sending atomic.Bool
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		if sending.Swap(true) {
			return fmt.Errorf("mutant: conn busy: %w", driver.ErrUnavailable)
		}
		defer sending.Store(false)
		<-time.After(time.Millisecond)
		return inner.Broadcast(ctx, b)
	}
}

// limited has a largest frame, and does something else with those around it.
func limited(takes func(size, limit int) (bool, error)) func(*bent) {
	const limit = 100_001
	return func(d *bent) {
		d.caps = func(c driver.Caps) driver.Caps {
			c.MaxFrame = limit
			return c
		}
		d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
			if ok, err := takes(len(b), limit); !ok {
				return err
			}
			return inner.Broadcast(ctx, b)
		}
	}
}

// dropsQueue sends each frame some milliseconds later, unless it is closed before.
func dropsQueue(d *bent) {
	life, end := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
		if life.Err() != nil {
			return driver.ErrClosed
		}
		b = bytes.Clone(b)
		wg.Go(func() {
			select {
			case <-time.After(5 * time.Millisecond):
				_ = inner.Broadcast(context.Background(), b)
			case <-life.Done():
			}
		})
		return nil
	}
	d.close = func(ctx context.Context, inner driver.Driver) error {
		end()
		wg.Wait()
		return inner.Close(ctx)
	}
}

func afterClose(does func() error) func(*bent) {
	return func(d *bent) {
		var closed atomic.Bool
		d.out = func(ctx context.Context, inner driver.Driver, b []byte) error {
			if closed.Load() {
				return does()
			}
			return inner.Broadcast(ctx, b)
		}
		d.close = func(ctx context.Context, inner driver.Driver) error {
			closed.Store(true)
			return inner.Close(ctx)
		}
	}
}

func waitsForServe(d *bent) {
	served := make(chan struct{})
	d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
		defer close(served)
		return inner.Serve(ctx, h)
	}
	d.close = func(ctx context.Context, inner driver.Driver) error {
		select {
		case <-served:
		case <-ctx.Done():
		}
		return errors.Join(inner.Close(context.WithoutCancel(ctx)), ctx.Err())
	}
}

func writeStdout(*bent) { fmt.Fprintln(os.Stdout, "mutant: a library writes to stdout") }

// whenLost does something with each lost link.
func whenLost(fault func(*bent)) func(*bent) {
	return func(d *bent) {
		d.serve = func(ctx context.Context, inner driver.Driver, h driver.Handler) error {
			err := inner.Serve(ctx, h)
			if err != nil {
				fault(d)
			}
			return err
		}
	}
}

// whenRefused does something with each Open that fails.
func whenRefused(fault func(*bent)) func(driver.OpenFunc) driver.OpenFunc {
	return func(inner driver.OpenFunc) driver.OpenFunc {
		return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			d, err := inner(ctx, o)
			if err != nil {
				fault(nil)
			}
			return d, err
		}
	}
}

// failsAs changes the error of a server that is away.
func failsAs(change func(error) error) func(driver.OpenFunc) driver.OpenFunc {
	return func(inner driver.OpenFunc) driver.OpenFunc {
		return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			d, err := inner(ctx, o)
			if errors.Is(err, driver.ErrUnavailable) {
				return nil, change(err)
			}
			return d, err
		}
	}
}

var (
	plainErrors  = failsAs(func(err error) error { return errors.New(err.Error()) })
	configErrors = failsAs(func(err error) error { return fmt.Errorf("%w: %v", driver.ErrConfig, err) })
)

func dialsFirst(inner driver.OpenFunc) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return inner(ctx, o)
	}
}

// keysAs reads the parameters by other names.
func keysAs(name func(string) string) func(driver.OpenFunc) driver.OpenFunc {
	return bend(func(d *bent) {
		params := map[string]string{}
		for k, v := range d.options.Params {
			params[name(k)] = v
		}
		if v := params["max_frame"]; v == Secret { // a number would be refused for what it is
			params["max_frame"] = "1000"
		}
		d.options.Params = params
	})
}

func unread(key string) func(driver.OpenFunc) driver.OpenFunc {
	return bend(func(d *bent) {
		params := map[string]string{}
		for k, v := range d.options.Params {
			if k != key {
				params[k] = v
			}
		}
		d.options.Params = params
	})
}

// takesParams removes each parameter that it has read.
func takesParams(inner driver.OpenFunc) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := inner(ctx, o)
		delete(o.Params, "bus")
		return d, err
	}
}

// busAlone opens a bus, whatever else it is given.
func busAlone(ctx context.Context, o driver.Options) (driver.Driver, error) {
	o.Params = map[string]string{"bus": o.Params["bus"]}
	return memory.Open(ctx, o)
}

func printsAddress(driver.OpenFunc) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		fmt.Fprintln(os.Stderr, "mutant: a library connects to", o.Params["address"])
		return busAlone(ctx, o)
	}
}

func logsParams(driver.OpenFunc) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		o.Logger.Debug("opening", "params", o.Params)
		return busAlone(ctx, o)
	}
}
