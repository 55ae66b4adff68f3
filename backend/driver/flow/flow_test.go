package flow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server hands each payload to the flow of its instance, as long as that reads.
type server struct {
	mu     sync.Mutex
	flows  map[string]*Flow
	frames map[string]int // bytes of frames, by instance
	marks  int
	deaf   map[string]bool
	lag    int      // frames for b that it has not read
	late   [][]byte // those
}

func newServer(instances ...string) *server {
	s := &server{flows: map[string]*Flow{}, frames: map[string]int{}, deaf: map[string]bool{}}
	for _, i := range instances {
		s.flows[i] = New("test", i, s.publish)
	}
	return s
}

func (s *server) publish(_ context.Context, instance string, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if instance == "b" && s.lag > 0 {
		s.late = append(s.late, payload)
		payload = nil
		if len(s.late) > s.lag {
			payload, s.late = s.late[0], s.late[1:]
		}
	}
	s.hand(instance, payload)
	return nil
}

func (s *server) hand(instance string, payload []byte) {
	f := s.flows[instance]
	switch {
	case f == nil || s.deaf[instance] || payload == nil:
	case f.Heard(payload):
		s.frames[instance] += len(payload)
	default:
		s.marks++
	}
}

func (s *server) serve(ctx context.Context) (wait func()) {
	var wg sync.WaitGroup
	for _, f := range s.flows {
		wg.Go(func() { _ = f.Serve(ctx) })
	}
	return wg.Wait
}

// run runs f on a server with the nodes a, b and c, whose flows serve until stop.
func run(t *testing.T, f func(t *testing.T, s *server, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newServer("a", "b", "c")
		wait := s.serve(ctx)
		stop := func() {
			cancel()
			wait()
		}
		defer stop()
		f(t, s, stop)
	})
}

var frame = []byte(strings.Repeat("f", Window/4))

func TestAMemberThatReadsIsSentAll(t *testing.T) {
	run(t, func(t *testing.T, s *server, _ func()) {
		for range 40 {
			if err := s.flows["a"].Send(t.Context(), driver.Member{Instance: "b"}, frame); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if s.frames["b"] != 40*len(frame) || s.frames["c"] != 0 {
			t.Errorf("b has read %d bytes, c %d", s.frames["b"], s.frames["c"])
		}
		if s.marks != 40 { // twenty halves, each asked for and confirmed
			t.Errorf("%d marks for ten windows, want 40", s.marks)
		}
	})
}

// While a member reads one half of a window the other is on its way.
func TestASlowMemberIsNotWaitedFor(t *testing.T) {
	run(t, func(t *testing.T, s *server, _ func()) {
		s.lag = 2 // frames and questions
		start := time.Now()
		for range 40 {
			if err := s.flows["a"].Send(t.Context(), driver.Member{Instance: "b"}, frame); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it is waited for: %v", took)
		}
	})
}

func TestAMemberThatReadsNothingIsSentOneWindow(t *testing.T) {
	run(t, func(t *testing.T, s *server, _ func()) {
		s.deaf["b"] = true
		start, sent := time.Now(), 0
		var err error
		for ; err == nil; sent++ {
			err = s.flows["a"].Send(t.Context(), driver.Member{Instance: "b"}, frame)
		}
		if sent != Window/len(frame) || !errors.Is(err, driver.ErrUnavailable) || time.Since(start) != Patience {
			t.Errorf("%d frames are sent in %v: %v", sent, time.Since(start), err)
		}
		if err := s.flows["a"].Send(t.Context(), driver.Member{Instance: "c"}, frame); err != nil {
			t.Errorf("another member: %v", err)
		}
		if w := s.flows["a"].to["b"]; w.waiting != 0 || len(w.asked) != 1 {
			t.Errorf("%d calls wait, %d numbers are asked for: want the last half's", w.waiting, len(w.asked))
		}
	})
}

func TestSendEnds(t *testing.T) {
	for what, c := range map[string]struct {
		end  func(cancel, stop func())
		want error
	}{
		"with its context": {func(cancel, _ func()) { cancel() }, context.Canceled},
		"with Serve":       {func(_, stop func()) { stop() }, driver.ErrClosed},
	} {
		t.Run(what, func(t *testing.T) {
			run(t, func(t *testing.T, s *server, stop func()) {
				s.deaf["b"] = true
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error)
				go func() {
					var err error
					for err == nil {
						err = s.flows["a"].Send(ctx, driver.Member{Instance: "b"}, frame)
					}
					ended <- err
				}()
				synctest.Wait()
				c.end(cancel, stop)
				if err := <-ended; !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

// What others write to an address is theirs: no mark publishes to an address of
// its own choice, and none blocks.
func TestHostileMarks(t *testing.T) {
	published := map[string]bool{}
	f := New("test", "a", func(_ context.Context, instance string, _ []byte) error {
		published[instance] = true
		return nil
	})
	for _, instance := range []string{"", "*", ">", "b.c", "../b", "B", "b c", strings.Repeat("b", 65), "b\x00"} {
		if f.Heard([]byte("\x00?1/" + instance)) {
			t.Errorf("%q is taken for a frame", instance)
		}
		if err := f.Send(t.Context(), driver.Member{Instance: instance}, frame); !errors.Is(err, driver.ErrUnavailable) {
			t.Errorf("to send to %q: %v", instance, err)
		}
	}
	for _, payload := range []string{"", "\x00", "\x00?", "\x00!1", "\x00?1", "\x00?x/b", "\x00?-1/b", "\x00x1/b", "\x00?" + strings.Repeat("1", 500) + "/b", "\x00!99999999999/b"} {
		if f.Heard([]byte(payload)) {
			t.Errorf("%q is taken for a frame", payload)
		}
	}
	for i := range 10 * maxConfirms {
		f.Heard(fmt.Appendf(nil, "\x00?%d/b", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Serve(ctx); err != nil {
		t.Error(err)
	}
	delete(published, "b")
	if len(published) != 0 || len(f.confirms) > maxConfirms {
		t.Errorf("published to %v; %d confirmations wait", published, len(f.confirms))
	}
}

func TestWindowsAreBounded(t *testing.T) {
	f := New("test", "a", func(context.Context, string, []byte) error { return nil })
	for i := range 3 * maxMembers {
		if err := f.Send(t.Context(), driver.Member{Instance: fmt.Sprintf("m%d", i)}, []byte("frame")); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.to) > maxMembers {
		t.Errorf("%d windows are kept", len(f.to))
	}
}

func FuzzHeard(f *testing.F) {
	for _, seed := range []string{"", "frame", "\x00?1/b", "\x00!1/b", "\x00?18446744073709551616/b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if f := New("test", "a", nil); f.Heard(payload) != (len(payload) > 0 && payload[0] != 0) {
			t.Errorf("%q", payload)
		}
	})
}
