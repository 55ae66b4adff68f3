package etcd_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/etcd"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
)

// unserved is a driver without a node above it. It is closed once, by its test or at the end of it.
type unserved struct {
	driver.Driver
	once sync.Once
}

func (u *unserved) Close(ctx context.Context) (err error) {
	u.once.Do(func() { err = u.Driver.Close(ctx) })
	return err
}

// openUnserved opens the driver of a node whose Serve is not called, so that a server
// that is silent is not given up.
func openUnserved(t testing.TB, instance string, params map[string]string, log slog.Handler) *unserved {
	t.Helper()
	d, err := etcd.Open(within(t), driver.Options{
		Cluster: cluster, Self: driver.Member{Name: instance, Instance: instance}, Params: params, Logger: slog.New(log),
	})
	if err != nil {
		t.Fatal(err)
	}
	u := &unserved{Driver: d}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := u.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return u
}

// holder is a slog.Handler that holds whoever logs a message until it is released.
type holder struct {
	message string
	held    chan struct{} // receives one for each that is held
	release chan struct{} // is closed
}

func holding(t testing.TB, message string) *holder {
	h := &holder{message: message, held: make(chan struct{}), release: make(chan struct{})}
	t.Cleanup(h.free)
	return h
}

// wait waits until one more is held.
func (h *holder) wait(t testing.TB) {
	t.Helper()
	select {
	case <-h.held:
	case <-time.After(20 * time.Second):
		t.Fatalf("%q is not logged", h.message)
	}
}

// free releases all. The test and its cleanup are one goroutine.
func (h *holder) free() {
	select {
	case <-h.release:
	default:
		close(h.release)
	}
}

func (h *holder) Enabled(context.Context, slog.Level) bool { return true }
func (h *holder) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *holder) WithGroup(string) slog.Handler            { return h }
func (h *holder) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.message {
		select {
		case h.held <- struct{}{}:
			<-h.release
		case <-h.release:
		}
	}
	return nil
}

// done is a context that is over.
func done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestCloseWhereTheServerHangs: each of the two requests of a goodbye has a second, and
// no more than the context of Close.
func TestCloseWhereTheServerHangs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ctx  context.Context
		most time.Duration
	}{
		"without time": {done(), time.Second},
		"with time":    {context.Background(), 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := proxy(t, start(t).Addr)
			d := openUnserved(t, "a", endpoints(p.Addr()), slog.DiscardHandler)
			p.Set(netfault.Swallow)
			ended := make(chan time.Duration, 1)
			began := time.Now()
			ctx, giveUp := context.WithCancel(c.ctx)
			defer giveUp()
			go func() {
				_ = d.Close(ctx) // how long it takes is what counts
				ended <- time.Since(began)
			}()
			select {
			case took := <-ended:
				if took > c.most {
					t.Errorf("Close took %v, want at most %v", took, c.most)
				}
			case <-time.After(c.most + 10*time.Second):
				t.Errorf("Close has not returned, want it to within %v", c.most)
				giveUp()
				<-ended
			}
		})
	}
}

// TestCloseEndsBroadcastsFirst: what waits for a server that does not answer is given up
// before the node says goodbye, so that nothing of it comes after that.
func TestCloseEndsBroadcastsFirst(t *testing.T) {
	t.Parallel()
	p := proxy(t, start(t).Addr)
	leaves := holding(t, "the others learn late that this node leaves")
	d := openUnserved(t, "a", endpoints(p.Addr()), leaves)
	p.Set(netfault.Swallow)
	var both sync.WaitGroup
	defer both.Wait()
	defer leaves.free()
	stuck := make(chan error, 1)
	both.Go(func() { stuck <- d.Broadcast(context.Background(), []byte("stuck")) })
	both.Go(func() { _ = d.Close(context.Background()) }) // looked at by other tests
	leaves.wait(t)
	select {
	case err := <-stuck:
		if err == nil {
			t.Error("the server has not answered, and Broadcast says nothing of it")
		}
	case <-time.After(10 * time.Second):
		t.Error("a broadcast still waits though the node has tried to say goodbye")
	}
}

// TestCloseWaitsForPieces: the pieces of large frames are put by goroutines of the
// driver, which log. None is left when Close returns, and what waited for room to put one
// is told that the driver is closed.
func TestCloseWaitsForPieces(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(d driver.Driver, to string, frame []byte) error{
		"for all": func(d driver.Driver, _ string, frame []byte) error { return d.Broadcast(context.Background(), frame) },
		"for one": func(d driver.Driver, to string, frame []byte) error {
			return d.Caps().Send(context.Background(), driver.Member{Instance: to}, frame)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := proxy(t, start(t).Addr)
			pieces := holding(t, "a request to etcd was not answered, and is said again")
			d := openUnserved(t, "a", endpoints(p.Addr()), pieces)
			p.Set(netfault.Swallow)
			const room = 8
			var all sync.WaitGroup
			defer all.Wait()
			defer pieces.free()
			results := make(chan error, room+1)
			for i := range room + 1 {
				all.Go(func() { results <- send(d, "b"+strconv.Itoa(i), make([]byte, d.Caps().MaxFrame)) }) // to each of them no more than is sent unconfirmed
			}
			for range room {
				pieces.wait(t)
				if err := <-results; err != nil {
					t.Errorf("there is room for a piece: %v", err)
				}
			}
			closed := make(chan struct{})
			all.Go(func() {
				defer close(closed)
				_ = d.Close(done()) // looked at by other tests
			})
			select {
			case <-closed:
				t.Error("Close has returned, and pieces are still on their way")
			case err := <-results:
				t.Errorf("what waits for room: %v, and there is none", err)
			case <-time.After(time.Second):
			}
			pieces.free()
			if err := <-results; !errors.Is(err, driver.ErrClosed) {
				t.Errorf("what waited for room: %v, want ErrClosed", err)
			}
		})
	}
}

// TestCloseOfALostLinkSaysNothing: a node whose link is lost comes back. If it said that
// it leaves, the others would not believe its key for some seconds.
func TestCloseOfALostLinkSaysNothing(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := admin(t, server.Addr())
	d := openUnserved(t, "a", endpoints(server.Addr()), slog.DiscardHandler)
	served := make(chan error, 1)
	go func() { served <- d.Serve(context.Background(), &listener{}) }()
	key := prefix + cluster + "/members/a"
	r, err := client.Get(within(t), key)
	if err != nil || len(r.Kvs) != 1 {
		t.Fatalf("%s is %v: %v", key, r, err)
	}
	put(t, client, key, "junk", clientv3.WithLease(clientv3.LeaseID(r.Kvs[0].Lease)))
	select {
	case err := <-served:
		if !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("Serve ended with %v, want ErrUnavailable", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the node does not see that its key has changed")
	}
	if err := d.Close(within(t)); err != nil {
		t.Error(err)
	}
	if r, err = client.Get(within(t), key); err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "junk" {
		t.Errorf("%s is %v after Close, want what it was before: %v", key, r, err)
	}
}

// TestCloseWithATokenThatHasExpired: the goodbye logs in again, so that when Close has
// returned the node's lease is gone, and with it what it held.
func TestCloseWithATokenThatHasExpired(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"not expired": nil,
		"kept":        {"--auth-token-ttl", "1"},
		"signed":      {"--auth-token", "jwt,sign-method=HS256,priv-key={dir}/key,ttl=1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, root := guarded(t, args...)
			params := as("app", conformance.Secret, server.Addr())
			params["lease_ttl"] = "1m"
			d := openUnserved(t, "a", params, slog.DiscardHandler)
			if held := keysBelow(t, root, prefix); len(held) == 0 {
				t.Fatal("the node holds nothing")
			}
			if args != nil {
				<-time.After(3 * time.Second)
			}
			if err := d.Close(within(t)); err != nil {
				t.Error(err)
			}
			if left := keysBelow(t, root, prefix); len(left) > 0 {
				t.Errorf("left are %v", left)
			}
		})
	}
}
