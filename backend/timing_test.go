package backend_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// set is a grow-only set of strings.
type set struct {
	mu  sync.Mutex
	all map[string]bool
}

func (s *set) add(e string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]bool{}
	}
	s.all[e] = true
}

func (s *set) has(e string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[e]
}

func (s *set) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for e := range s.all {
		all = append(all, e)
	}
	slices.Sort(all)
	var b []byte
	for _, e := range all {
		b = fmt.Appendf(b, "%s\n", e)
	}
	return b, nil
}

func (s *set) Merge(b []byte) error {
	start := 0
	for i, c := range b {
		if c == '\n' {
			s.add(string(b[start:i]))
			start = i + 1
		}
	}
	return nil
}

func open(t *testing.T, bus *memory.Bus, name string, change func(*backend.Config)) backend.ClusterChannel {
	t.Helper()
	c := backend.Config{
		Backend: "memory", Cluster: "t", Name: name, Params: map[string]string{"bus": bus.Name()},
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	ch, err := backend.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ch.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return ch
}

// bubble runs f in virtual time, with nodes on a bus of their own.
func bubble(t *testing.T, f func(t *testing.T, bus *memory.Bus)) {
	synctest.Test(t, func(t *testing.T) {
		bus := memory.NewBus()
		defer bus.Remove()
		f(t, bus)
	})
}

func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func names(c backend.ClusterChannel) (all []string) {
	for _, m := range c.Members() {
		all = append(all, m.Name)
	}
	return all
}

func expect(t *testing.T, c backend.ClusterChannel, status backend.Status, members ...string) {
	t.Helper()
	v := c.View()
	if v.Status != status || !slices.Equal(names(c), members) {
		t.Fatalf("%v %v (%v), want %v %v", v.Status, names(c), v.Err, status, members)
	}
}

func TestAShortOutageChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		a, b := open(t, bus, "a", nil), open(t, bus, "b", nil)
		after(time.Second)
		expect(t, b, backend.Attached, "a", "b")
		epoch := len(b.Members())
		bus.Stop()
		after(9 * time.Second)
		expect(t, a, backend.Detached, "a", "b")
		expect(t, b, backend.Detached, "a", "b")
		bus.Start()
		after(3 * time.Second)
		expect(t, a, backend.Attached, "a", "b")
		expect(t, b, backend.Attached, "a", "b")
		if len(b.Members()) != epoch {
			t.Fatal("the view changed")
		}
	})
}

func TestARefusalAfterOpenIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		attempts := 0
		a := open(t, bus, "a", func(c *backend.Config) {
			c.Driver = func(ctx context.Context, o driver.Options) (driver.Driver, error) {
				if attempts++; attempts == 1 {
					<-time.After(2 * time.Second) // Open has returned by then
					return nil, fmt.Errorf("%w: password: is wrong", driver.ErrConfig)
				}
				return memory.Open(ctx, o)
			}
		})
		expect(t, a, backend.Detached, "a")
		after(5 * time.Second)
		expect(t, a, backend.Attached, "a")
	})
}

func TestALongOutageAndThePolicies(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		alone := open(t, bus, "x", nil)
		hold := open(t, bus, "y", func(c *backend.Config) { c.OnIsolation = backend.HoldView })
		after(time.Second)
		bus.Stop()
		after(9 * time.Second)
		expect(t, alone, backend.Detached, "x", "y")
		after(2 * time.Second)
		expect(t, alone, backend.Detached, "x")
		expect(t, hold, backend.Detached, "x", "y")
		if v := hold.View(); v.Position != 1 || !errors.Is(v.Err, backend.ErrUnavailable) || time.Since(v.Since) < 10*time.Second {
			t.Fatalf("%+v", v)
		}
		after(24 * time.Hour)
		bus.Start()
		after(5 * time.Second)
		expect(t, alone, backend.Attached, "x", "y")
		expect(t, hold, backend.Attached, "x", "y")
	})
}

func TestACrashIsSeenByOwnEcho(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		a, b := open(t, bus, "a", nil), open(t, bus, "b", nil)
		after(time.Second)
		bus.Cut("a", "b", true) // neither hears the other, both hear themselves
		after(1500 * time.Millisecond)
		expect(t, a, backend.Attached, "a", "b")
		after(2 * time.Second)
		expect(t, a, backend.Attached, "a")
		expect(t, b, backend.Attached, "b")
		bus.Cut("a", "b", false)
		after(time.Second)
		expect(t, a, backend.Attached, "a", "b")
		expect(t, b, backend.Attached, "a", "b")
	})
}

func TestADeafNodeDropsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		a, b := open(t, bus, "a", nil), open(t, bus, "b", nil)
		after(time.Second)
		bus.Cut("a", "a", true)
		bus.Cut("a", "b", true)
		after(4 * time.Second)
		if v := a.View(); v.Status != backend.Detached || !errors.Is(v.Err, backend.ErrNoEcho) {
			t.Fatalf("%+v", v)
		}
		expect(t, a, backend.Detached, "a", "b")
		expect(t, b, backend.Attached, "b")
	})
}

func TestReadyWhenAlone(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		a := open(t, bus, "a", nil)
		start := time.Now()
		if err := a.WaitReady(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if r := a.View().Ready; r != backend.Alone {
			t.Fatal(r)
		}
	})
}

func TestReadyWhenTheLimitPasses(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		bus.Stop()
		a := open(t, bus, "a", nil)
		start := time.Now()
		if err := a.WaitReady(t.Context()); err != nil || time.Since(start) != 10*time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if r := a.View().Ready; r != backend.TimedOut {
			t.Fatal(r)
		}
		bus.Start()
		after(3 * time.Second)
		expect(t, a, backend.Attached, "a")
	})
}

func TestAntiEntropy(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		var nodes []backend.ClusterChannel
		var sets []*set
		for i := range 5 {
			n, s := open(t, bus, fmt.Sprintf("n%d", i), nil), new(set)
			if _, err := n.AddState("s", s, nil); err != nil {
				t.Fatal(err)
			}
			nodes, sets = append(nodes, n), append(sets, s)
		}
		after(5 * time.Second)
		sets[3].add("silent")
		after(33 * time.Second)
		for i, s := range sets {
			if !s.has("silent") {
				t.Errorf("%s lacks the entry", nodes[i].View().Self().Name)
			}
		}
	})
}

func TestAGapIsRepairedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		a, b := open(t, bus, "a", nil), open(t, bus, "b", nil)
		sa, sb := new(set), new(set)
		ca, err := a.AddState("s", sa, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.AddState("s", sb, nil); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Second)
		bus.Cut("a", "b", true)
		sa.add("lost")
		ca.Broadcast([]byte("lost\n"))
		synctest.Wait()
		bus.Cut("a", "b", false)
		after(2 * time.Second)
		if !sb.has("lost") {
			t.Fatal("the last update before silence is lost until the next comparison")
		}
	})
}
