package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/driver/flow"
	"github.com/clusterchannel/clusterchannel/backends/etcd"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// listener is a driver's Handler that keeps what it hears.
type listener struct {
	driver.Handler // the methods that are not called

	mu    sync.Mutex
	heard []string
}

func (l *listener) Frame(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, string(b))
}

func (l *listener) Link(error)                         {}
func (l *listener) Members([]driver.Member)            {}
func (l *listener) Left(driver.Member)                 {}
func (l *listener) Probe(string, time.Duration, error) {}
func (l *listener) Trouble(string, error)              {}
func (l *listener) Reject(driver.Reason, error)        {}
func (l *listener) all() []string                      { l.mu.Lock(); defer l.mu.Unlock(); return slices.Clone(l.heard) }

// openDriver opens the driver of a node without the portable layer.
func openDriver(t testing.TB, addr, instance string) (driver.Driver, *listener) {
	t.Helper()
	d, err := etcd.Open(within(t), driver.Options{
		Cluster: cluster, Self: driver.Member{Name: instance, Instance: instance}, Params: endpoints(addr), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{}
	ctx, end := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = d.Serve(ctx, l) })
	t.Cleanup(func() {
		end()
		serving.Wait()
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d, l
}

// TestSendReachesOne: what is for one member is seen by nobody else, in order,
// and leaves one key, which goes when that member does.
func TestSendReachesOne(t *testing.T) {
	t.Parallel()
	server := start(t)
	drivers, heard := map[string]driver.Driver{}, map[string]*listener{}
	for _, instance := range []string{"a", "b", "c"} {
		drivers[instance], heard[instance] = openDriver(t, server.Addr(), instance)
	}
	send := func(from, to string, frame []byte) error {
		return drivers[from].Caps().Send(t.Context(), driver.Member{Instance: to}, frame)
	}
	frame := make([]byte, drivers["a"].Caps().MaxFrame-1<<10) // pieces of a large frame overtake each other
	frames := 4 * flow.Window / len(frame)
	for i := range frames {
		copy(frame, fmt.Sprintf("%04d", i))
		for _, from := range []string{"a", "c"} {
			if err := send(from, "b", frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := drivers["a"].Broadcast(t.Context(), []byte("for all")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		for instance, want := range map[string]int{"a": 0, "b": 2*frames + 1, "c": 1} { // a transport with a list echoes nothing
			if n := len(heard[instance].all()); n != want {
				return fmt.Errorf("%s has heard %d frames, want %d", instance, n, want)
			}
		}
		return nil
	})
	for i, f := range slices.DeleteFunc(heard["b"].all(), func(f string) bool { return f == "for all" }) {
		if want := fmt.Sprintf("%04d", i/2); f[:4] != want {
			t.Fatalf("frame %s is the %dth", f[:4], i+1)
		}
	}
	if keys := keysBelow(t, admin(t, server.Addr()), prefix+cluster+"/to/"); len(keys) > 3 {
		t.Errorf("%v are left of what was sent to three", keys)
	}
	if err := send("a", "nobody", frame); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("to who is no member: %v, want ErrUnavailable", err)
	}
}
