package nats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/nats"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// recorder is a Handler that records its calls.
type recorder struct {
	driver.Handler // the methods that a bus does not call

	mu     sync.Mutex
	frames [][]byte
	links  []error
	slow   time.Duration // that Frame takes
}

func (r *recorder) Frame(b []byte) {
	<-time.After(r.slow)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, bytes.Clone(b))
}

func (r *recorder) Link(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links = append(r.links, err)
}

func (r *recorder) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, f := range r.frames {
		all = append(all, string(f))
	}
	return all
}

func (r *recorder) told() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.links...)
}

// up reports whether the driver said last that it is attached.
func (r *recorder) up(want bool) error {
	links := r.told()
	if len(links) == 0 || (links[len(links)-1] == nil) != want {
		return fmt.Errorf("the driver reported %v; want attached: %v", links, want)
	}
	return nil
}

// gaveUp reports whether the driver has given up, and said text.
func (r *recorder) gaveUp(text string) error {
	for _, err := range r.told() {
		if errors.Is(err, driver.ErrUnavailable) && strings.Contains(err.Error(), text) {
			return nil
		}
	}
	return fmt.Errorf("the driver reported %v; want that it gives up, saying %q", r.told(), text)
}

// openDriver opens a driver without the portable layer.
func openDriver(t testing.TB, params map[string]string) (driver.Driver, *recorder) {
	t.Helper()
	r := &recorder{}
	return openDriverFor(t, params, r), r
}

func openDriverFor(t testing.TB, params map[string]string, r *recorder) driver.Driver {
	t.Helper()
	return openMember(t, "1", params, r)
}

// openMember opens the driver of the node with that instance.
func openMember(t testing.TB, instance string, params map[string]string, r *recorder) driver.Driver {
	t.Helper()
	d, err := nats.Open(t.Context(), driver.Options{
		Cluster: "test", Self: driver.Member{Name: "a", Instance: instance}, Params: params, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	s := &served{Driver: d, end: end}
	s.serving.Go(func() {
		if err := d.Serve(ctx, r); err != nil {
			r.Link(err)
		}
	})
	t.Cleanup(func() { closeDriver(t, s) })
	return s
}

// served is a driver that serves until it is closed.
type served struct {
	driver.Driver
	end     context.CancelFunc
	serving sync.WaitGroup
	once    sync.Once
}

func (s *served) Close(ctx context.Context) (err error) {
	s.once.Do(func() {
		s.end()
		s.serving.Wait()
		err = s.Driver.Close(ctx)
	})
	return err
}

// openBehindProxy opens a driver whose link to its server passes a proxy.
func openBehindProxy(t *testing.T) (*servers.Server, *netfault.Proxy, driver.Driver, *recorder) {
	t.Helper()
	s := start(t, base)
	p, err := netfault.Listen(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // the test is over
	d, r := openDriver(t, map[string]string{"servers": p.Addr()})
	return s, p, d, r
}

func closeDriver(t testing.TB, d driver.Driver) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestBroadcastWhileDisconnected: what is sent while there is no server is an
// error, and does not arrive later.
func TestBroadcastWhileDisconnected(t *testing.T) {
	t.Parallel()
	s, _, d, r := openBehindProxy(t)
	s.Stop(t)
	testkit.Eventually(t, 20*time.Second, func() error { return r.up(false) })
	for i := range 100 {
		if err := d.Broadcast(t.Context(), fmt.Appendf(nil, "stale %d", i)); !errors.Is(err, driver.ErrUnavailable) {
			t.Fatalf("Broadcast without a server: %v, want ErrUnavailable", err)
		}
	}
	s.Start(t)
	testkit.Eventually(t, 20*time.Second, func() error { return r.up(true) })
	if err := d.Broadcast(t.Context(), []byte("fresh")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if heard := r.heard(); len(heard) != 1 || heard[0] != "fresh" {
			return fmt.Errorf("heard %q, want only what was sent after the outage", heard)
		}
		return nil
	})
}

// window is how many frames of 256 KiB are sent before the server is waited for.
const window = 4

// TestBroadcastEndsWithItsContext: a server that reads nothing delays nobody.
func TestBroadcastEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, p, d, r := openBehindProxy(t)
	p.Set(netfault.Stall)
	defer p.Set(netfault.Refuse)
	slowest, accepted := time.Duration(0), 0
	testkit.Eventually(t, 20*time.Second, func() error { // until the buffers are full and the link is cut
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := d.Broadcast(ctx, make([]byte, 256<<10)); err == nil {
			accepted++
		}
		slowest = max(slowest, time.Since(began))
		return r.up(false)
	})
	if accepted >= window {
		t.Errorf("a server that takes nothing was sent %d frames of 256 KiB before one was refused", accepted)
	}
	if slowest > 2*time.Second {
		t.Errorf("a Broadcast took %v, past its context of 20ms", slowest)
	}
	short, cancelShort := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancelShort()
	began := time.Now()
	err := d.Close(short)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Close took %v (%v), past its context", took, err)
	}
}

// TestCancelledBroadcastKeepsTheLink: a node that leaves in the middle of a
// large frame can say goodbye.
func TestCancelledBroadcastKeepsTheLink(t *testing.T) {
	t.Parallel()
	_, p, d, r := openBehindProxy(t)
	p.Delay(20 * time.Millisecond) // for each 32 KiB
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var err error
	for range window {
		if err = d.Broadcast(ctx, make([]byte, 256<<10)); err != nil {
			break
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Broadcast whose context ends: %v", err)
	}
	if err := d.Broadcast(t.Context(), []byte("goodbye")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if heard := r.heard(); len(heard) == 0 || heard[len(heard)-1] != "goodbye" {
			return fmt.Errorf("%d frames heard, and no goodbye", len(heard))
		}
		return r.up(true)
	})
	if links := r.told(); len(links) != 1 {
		t.Errorf("the driver reported %v, want the link to stay", links)
	}
}

// TestFloodIsHeldBack: on a slow link a sender is not far ahead of what it hears,
// so that heartbeats are not late.
func TestFloodIsHeldBack(t *testing.T) {
	t.Parallel()
	_, p, d, r := openBehindProxy(t)
	p.Delay(5 * time.Millisecond) // for each 32 KiB
	for i := range 100 {
		if err := d.Broadcast(t.Context(), make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		if ahead := i + 1 - len(r.heard()); ahead > 32 {
			t.Fatalf("%d frames of 64 KiB are on their way, want at most 2 MiB of them", ahead)
		}
	}
}

// TestCloseSendsWhatWasAccepted: the goodbye is the last frame, and arrives.
func TestCloseSendsWhatWasAccepted(t *testing.T) {
	t.Parallel()
	s := start(t, base)
	params := map[string]string{"servers": s.Addr()}
	_, r := openDriver(t, params)
	for round := range 20 {
		leaving, _ := openDriver(t, params)
		for i := range 50 {
			if err := leaving.Broadcast(t.Context(), fmt.Appendf(bytes.Repeat([]byte("x"), 10_000), "%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		closeDriver(t, leaving)
		if err := leaving.Broadcast(t.Context(), []byte("late")); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("Broadcast after Close: %v, want ErrClosed", err)
		}
		testkit.Eventually(t, 20*time.Second, func() error {
			if got, want := len(r.heard()), 50*(round+1); got != want {
				return fmt.Errorf("%d frames of %d arrived", got, want)
			}
			return nil
		})
	}
}

// TestHandlerIsNotCalledAfterClose closes in haste while frames pour in.
func TestHandlerIsNotCalledAfterClose(t *testing.T) {
	t.Parallel()
	s := start(t, base)
	stranger := dial(t, s.Addr())
	hasty, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		r := &recorder{slow: 5 * time.Millisecond}
		d := openDriverFor(t, map[string]string{"servers": s.Addr()}, r)
		for range 100 {
			if err := stranger.Publish(subject("test"), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		testkit.Eventually(t, 20*time.Second, func() error {
			if len(r.heard()) == 0 {
				return errors.New("nothing heard")
			}
			return nil
		})
		_ = d.Close(hasty) // not all was sent
		frames, links := len(r.heard()), len(r.told())
		<-time.After(4 * r.slow)
		if f, l := len(r.heard()), len(r.told()); f != frames || l != links {
			t.Fatalf("after Close %d frames and %d links were handed over", f-frames, l-links)
		}
	}
}
