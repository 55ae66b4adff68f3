package backend_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// script is a driver that does what a test says, and knows its members.
type script struct {
	caps      func() driver.Caps
	serve     func(ctx context.Context, h driver.Handler) error
	broadcast func(ctx context.Context, frame []byte) error
	close     func(ctx context.Context) error
}

func (s *script) Caps() driver.Caps {
	if s.caps != nil {
		return s.caps()
	}
	return driver.Caps{Membership: true}
}

func (s *script) Serve(ctx context.Context, h driver.Handler) error {
	if s.serve != nil {
		return s.serve(ctx, h)
	}
	h.Link(nil)
	<-ctx.Done()
	return nil
}

func (s *script) Broadcast(ctx context.Context, frame []byte) error {
	if s.broadcast != nil {
		return s.broadcast(ctx, frame)
	}
	return nil
}

func (s *script) Close(ctx context.Context) error {
	if s.close != nil {
		return s.close(ctx)
	}
	return nil
}

// table is a driver of a type that is no pointer.
type table map[string]bool

func (table) Caps() driver.Caps                           { return driver.Caps{} }
func (table) Serve(context.Context, driver.Handler) error { return nil }
func (table) Broadcast(context.Context, []byte) error     { return nil }
func (table) Close(context.Context) error                 { return nil }

func (s *script) open(context.Context, driver.Options) (driver.Driver, error) { return s, nil }

func ownDriver(open driver.OpenFunc) backend.Config {
	return backend.Config{Backend: "own", Cluster: "t", Name: "a", Driver: open, Logger: slog.New(slog.DiscardHandler)}
}

// A driver that cannot be used is an error of Open.
func TestADriverThatCannotBeOpened(t *testing.T) {
	closed := 0
	for text, c := range map[string]struct {
		open driver.OpenFunc
		want error
	}{
		"the driver is nil": {func(context.Context, driver.Options) (driver.Driver, error) { return nil, nil }, backend.ErrConfig},
		"driver is nil":     {func(context.Context, driver.Options) (driver.Driver, error) { return (*script)(nil), nil }, backend.ErrConfig},
		"is nil":            {func(context.Context, driver.Options) (driver.Driver, error) { return table(nil), nil }, backend.ErrConfig},
		"panic: at Open":    {func(context.Context, driver.Options) (driver.Driver, error) { panic("at Open") }, nil},
		"Caps: panic: at Caps": {(&script{
			caps:  func() driver.Caps { panic("at Caps") },
			close: func(context.Context) error { closed++; return nil },
		}).open, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, err := backend.Open(t.Context(), ownDriver(c.open))
			if err == nil || !strings.Contains(err.Error(), text) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want an error that says %q", err, text)
			}
		})
	}
	if closed != 1 {
		t.Errorf("the driver whose Caps panics was closed %d times", closed)
	}
}

// What befalls a driver later only has another one opened.
func TestADriverThatEnds(t *testing.T) {
	for text, end := range map[string]func() error{
		"the cable is cut":           func() error { return fmt.Errorf("%w: the cable is cut", driver.ErrUnavailable) },
		"the cable":                  func() error { return errors.New("the cable") }, // it forgot the sentinel
		"password":                   func() error { return fmt.Errorf("%w: password", driver.ErrConfig) },
		"the driver stopped serving": func() error { return nil },
		"panic: at Serve":            func() error { panic("at Serve") },
	} {
		synctest.Test(t, func(t *testing.T) {
			opened, closed := 0, 0
			lost := make(chan struct{})
			open := func(context.Context, driver.Options) (driver.Driver, error) {
				if opened++; opened == 2 {
					return nil, driver.ErrUnavailable // so that the reason can be seen
				}
				if opened == 3 {
					panic("at Open")
				}
				s := &script{close: func(context.Context) error { closed++; panic("at Close") }}
				if opened == 1 {
					s.serve = func(_ context.Context, h driver.Handler) error {
						h.Link(nil)
						<-lost
						return end()
					}
				}
				return s, nil
			}
			c, err := backend.Open(t.Context(), ownDriver(open))
			if err != nil {
				t.Fatal(err)
			}
			after(time.Second)
			expect(t, c, backend.Attached, "a")
			close(lost)
			synctest.Wait()
			if v := c.View(); v.Status != backend.Detached || !errors.Is(v.Err, backend.ErrUnavailable) || !strings.Contains(v.Err.Error(), text) {
				t.Errorf("%v, %v, want Detached for ErrUnavailable that says %q", v.Status, v.Err, text)
			}
			after(2 * time.Second)
			expect(t, c, backend.Attached, "a")
			if opened != 4 || closed != 1 {
				t.Errorf("%d drivers were opened and %d closed", opened, closed)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A driver that panics when it is to send loses what it was given, and no more.
func TestADriverThatPanicsWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		config := ownDriver((&script{broadcast: func(context.Context, []byte) error { panic("at Broadcast") }}).open)
		config.Registerer = reg
		c, err := backend.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		channel, err := c.AddState("s", &set{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		channel.Broadcast([]byte("x"))
		after(time.Second)
		expect(t, c, backend.Attached, "a")
		want := `
			# HELP alertmanager_cluster_messages_publish_failures_total Messages that could not be sent; state exchange repairs them.
			# TYPE alertmanager_cluster_messages_publish_failures_total counter
			alertmanager_cluster_messages_publish_failures_total{cluster_name="t",msg_type="full_state",reason="buffer_overflow"} 0
			alertmanager_cluster_messages_publish_failures_total{cluster_name="t",msg_type="full_state",reason="transport_error"} 0
			alertmanager_cluster_messages_publish_failures_total{cluster_name="t",msg_type="update",reason="buffer_overflow"} 0
			alertmanager_cluster_messages_publish_failures_total{cluster_name="t",msg_type="update",reason="transport_error"} 1
		`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "alertmanager_cluster_messages_publish_failures_total"); err != nil {
			t.Error(err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A driver that panics when it is to send to one member, or to hand updates to
// foreign ones, loses what it was given too.
func TestADriverThatPanicsInItsCaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends, updates := 0, 0
		s := &script{
			caps: func() driver.Caps {
				return driver.Caps{
					Membership: true, Exchange: true,
					Send:    func(context.Context, driver.Member, []byte) error { sends++; panic("at Send") },
					Updates: func(context.Context, iter.Seq2[string, []byte]) (bool, error) { updates++; panic("at Updates") },
				}
			},
			serve: func(ctx context.Context, h driver.Handler) error {
				z := driver.Member{Name: "z", Instance: "z"}
				h.Link(nil)
				h.Members([]driver.Member{z})
				h.Frame(heartbeatOf(z))
				<-ctx.Done()
				return nil
			},
		}
		c, err := backend.Open(t.Context(), ownDriver(s.open))
		if err != nil {
			t.Fatal(err)
		}
		channel, err := c.AddState("s", &set{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		channel.Broadcast([]byte("x"))
		after(20 * time.Second)
		expect(t, c, backend.Attached, "a", "z")
		if sends == 0 || updates == 0 {
			t.Errorf("Send was called %d times, Updates %d times", sends, updates)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A driver that calls before it says that it is attached is listened to, and
// nothing of it makes the node attached.
func TestADriverThatCallsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attach := make(chan struct{})
		s := &script{
			caps: func() driver.Caps { return driver.Caps{Membership: true, Exchange: true} },
			serve: func(ctx context.Context, h driver.Handler) error {
				h.Members(nil)
				h.Members([]driver.Member{{Name: "z", Instance: "z"}})
				h.Left(driver.Member{Name: "y", Instance: "y"})
				h.Frame(nil)
				h.Frame([]byte("\x0a\x01s\x12\x02x\n"))
				h.MergeState([]byte("\x0a\x07\x0a\x01s\x12\x02x\n"))
				h.Reject(driver.Malformed, errors.New("early"))
				h.Probe("z", time.Second, nil)
				_ = h.LocalState()
				<-attach
				h.Link(nil)
				<-ctx.Done()
				return nil
			},
		}
		c, err := backend.Open(t.Context(), ownDriver(s.open))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.AddState("s", &set{}, nil); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Second)
		if v := c.View(); v.Status != backend.Detached {
			t.Errorf("%v, before the driver is attached", v.Status)
		}
		close(attach)
		after(5 * time.Second)
		expect(t, c, backend.Attached, "a", "z")
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A queue of a state has limits too.
func TestStateOptionsAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := backend.Open(t.Context(), ownDriver((&script{}).open))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []backend.StateOptions{{QueueItems: -1}, {QueueBytes: -1}, {QueueItems: 1<<24 + 1}, {QueueBytes: 1<<36 + 1}} {
			if _, err := c.AddState("s", &set{}, &o); !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), "16777216") {
				t.Errorf("%+v: %v, want ErrConfig that says the limits", o, err)
			}
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Nothing counts that a driver calls once its Serve has returned.
func TestADriverThatCallsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late driver.Handler
		var marshalled int
		lost := make(chan struct{})
		opened := 0
		open := func(_ context.Context, o driver.Options) (driver.Driver, error) {
			s := &script{caps: func() driver.Caps { return driver.Caps{Membership: true, Exchange: true} }}
			if opened++; opened == 1 {
				s.serve = func(_ context.Context, h driver.Handler) error {
					late = h
					h.Link(nil)
					<-lost
					return driver.ErrUnavailable
				}
			}
			return s, nil
		}
		c, err := backend.Open(t.Context(), ownDriver(open))
		if err != nil {
			t.Fatal(err)
		}
		s := &marshalCounter{set: &set{}, marshalled: &marshalled}
		if _, err := c.AddState("s", s, nil); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		close(lost)
		after(time.Second)
		before := c.View().Epoch
		late.Link(driver.ErrUnavailable)
		late.Members([]driver.Member{{Name: "z", Instance: "z"}})
		late.Left(c.View().Self())
		late.Frame([]byte("\x0a\x01s\x12\x02x\n")) // Alertmanager's update of s
		late.MergeState([]byte("\x0a\x07\x0a\x01s\x12\x02x\n"))
		late.Reject(driver.Malformed, errors.New("late"))
		late.Probe("a", time.Second, nil)
		late.Trouble("late", errors.New("late"))
		late.Lost(c.View().Self(), errors.New("late"))
		if b := late.LocalState(); b != nil || marshalled > 0 {
			t.Errorf("a full state of %d bytes", len(b))
		}
		after(time.Minute)
		expect(t, c, backend.Attached, "a")
		if now := c.View().Epoch; now != before {
			t.Errorf("the view has changed %d times", now-before)
		}
		if s.has("x") {
			t.Error("an update was merged")
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

type marshalCounter struct {
	*set
	marshalled *int
}

func (c *marshalCounter) MarshalBinary() ([]byte, error) {
	*c.marshalled++
	return c.set.MarshalBinary()
}

// A driver that hangs holds up neither Close nor the driver after it.
func TestADriverThatHangs(t *testing.T) {
	for what, hang := range map[string]func(s *script, stop <-chan struct{}){
		"Serve": func(s *script, stop <-chan struct{}) {
			s.serve = func(_ context.Context, h driver.Handler) error { h.Link(nil); <-stop; return nil }
		},
		"Close": func(s *script, stop <-chan struct{}) {
			s.close = func(context.Context) error { <-stop; return nil }
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			stop := make(chan struct{})
			defer synctest.Wait()
			defer close(stop)
			s := &script{}
			hang(s, stop)
			c, err := backend.Open(t.Context(), ownDriver(s.open))
			if err != nil {
				t.Fatal(err)
			}
			after(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			if err := c.Close(ctx); err == nil && what == "Close" {
				t.Errorf("%s hangs, and the channel closes without an error", what)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("%s hangs, and the channel takes %v to close", what, took)
			}
		})
	}
}

// Serve has returned when Close is called, and Broadcast is called between an
// attachment and the end of Serve only.
func TestTheOrderOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var calls []string
		note := func(call string) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, call)
		}
		s := &script{
			caps: func() driver.Caps { note("Caps"); return driver.Caps{Membership: true} },
			serve: func(ctx context.Context, h driver.Handler) error {
				note("Serve")
				<-time.After(time.Second)
				note("Link")
				h.Link(nil)
				<-ctx.Done()
				<-time.After(100 * time.Millisecond)
				note("served")
				return nil
			},
			broadcast: func(context.Context, []byte) error { note("Broadcast"); return nil },
			close:     func(context.Context) error { note("Close"); return nil },
		}
		c, err := backend.Open(t.Context(), ownDriver(s.open))
		if err != nil {
			t.Fatal(err)
		}
		channel, err := c.AddState("s", &set{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		channel.Broadcast([]byte("x"))
		after(3 * time.Second)
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		// A mark, one that tells of the state, an update, its number, the mark that says
		// that it leaves, the goodbye.
		want := "Caps Serve Link Broadcast Broadcast Broadcast Broadcast Broadcast Broadcast served Close"
		if got := strings.Join(calls, " "); got != want {
			t.Errorf("called were %s, want %s", got, want)
		}
	})
}
