package replicated_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/replicated"
)

func newSet(t *testing.T, o *replicated.Options) *replicated.Set[string] {
	t.Helper()
	s, err := replicated.NewSet[string](o)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// both merges two states into each other.
func both(t *testing.T, a, b backend.State) {
	t.Helper()
	merge(t, a, b)
	merge(t, b, a)
}

func elements(s *replicated.Set[string]) string {
	return strings.Join(slices.Sorted(s.All()), " ")
}

func TestAnAdditionWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &wrong{by: -time.Hour}
		a, b := newSet(t, &replicated.Options{Now: slow.now}), newSet(t, nil)
		must(t, a.Add("x"))
		must(t, b.Add("y"))
		both(t, a, b)
		must(t, b.Remove("x")) // what it has seen
		must(t, a.Add("x"))    // again, at the same time, by a clock that is behind
		must(t, a.Remove("y"))
		both(t, a, b)
		for _, s := range []*replicated.Set[string]{a, b} {
			if got := elements(s); got != "x" || !s.Has("x") || s.Has("y") || s.Len() != 1 {
				t.Errorf("it has %q, %d", got, s.Len())
			}
		}
		must(t, b.Remove("x"))
		both(t, a, b)
		if a.Len()+b.Len() != 0 {
			t.Errorf("%q and %q are left", elements(a), elements(b))
		}
	})
}

// An element that two add by turns takes one entry: who has seen it renews it.
func TestASetDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newSet(t, nil), newSet(t, nil)
		for range 1000 {
			must(t, a.Add("x"))
			both(t, a, b)
			must(t, b.Add("x"))
			both(t, a, b)
		}
		if s := a.Stats(); s.Entries != 1 || s.Tombstones != 0 || elements(a) != "x" {
			t.Errorf("%+v", s)
		}
	})
}

func TestSetOfTwoNodes(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		a, b := newSet(t, nil), newSet(t, nil)
		must(t, a.Attach(open("a"), "s"))
		must(t, b.Attach(open("b"), "s"))
		must(t, a.Add("x"))
		after(time.Second)
		var seen []string
		for c := range b.Watch(t.Context()) {
			seen = append(seen, fmt.Sprint(c.Key, c.Deleted))
			if len(seen) == 1 {
				must(t, a.Remove("x"))
				must(t, a.Add("y"))
			}
			if len(seen) == 3 {
				break
			}
		}
		if want := []string{"xfalse", "xtrue", "yfalse"}; !slices.Equal(seen, want) {
			t.Errorf("%q, want %q", seen, want)
		}
	})
}

func TestCounters(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		nodes := []backend.ClusterChannel{open("a"), open("b"), open("c")}
		var counters []*replicated.Counter
		var growing []*replicated.GrowCounter
		for _, node := range nodes {
			c, err := replicated.NewCounter(nil)
			must(t, err)
			t.Cleanup(c.Close)
			g, err := replicated.NewGrowCounter(nil)
			must(t, err)
			t.Cleanup(g.Close)
			must(t, c.Attach(node, "c"))
			must(t, g.Attach(node, "g"))
			counters, growing = append(counters, c), append(growing, g)
		}
		for i := range 100 {
			must(t, counters[i%3].Add(int64(i%3)*10-5))
			must(t, growing[i%3].Add(2))
		}
		after(time.Second)
		for i := range nodes {
			if got, want := counters[i].Value(), int64(34*-5+33*5+33*15); got != want {
				t.Errorf("%d, want %d", got, want)
			}
			if got := growing[i].Value(); got != 200 {
				t.Errorf("%d, want 200", got)
			}
		}
		for v := range counters[0].Watch(t.Context()) {
			if v == 1000 {
				break
			}
			must(t, counters[1].Add(1000-v))
		}
	})
}

func TestALargeCount(t *testing.T) {
	c, err := replicated.NewCounter(nil)
	must(t, err)
	t.Cleanup(c.Close)
	must(t, c.Add(-(1 << 61)))
	must(t, c.Add(-(1 << 61)))
	if err := c.Add(math.MinInt64); !errors.Is(err, replicated.ErrFull) {
		t.Error(err)
	}
	if got := c.Value(); got != -(1 << 62) {
		t.Error(got)
	}
	for range 3 { // of other nodes
		other, err := replicated.NewCounter(nil)
		must(t, err)
		t.Cleanup(other.Close)
		must(t, other.Add(-(1 << 62)))
		merge(t, other, c)
	}
	if got := c.Value(); got != math.MinInt64 {
		t.Error(got)
	}
}

// What others have added is not lost in between, however much it is.
func TestCountsThatTakeEachOtherAway(t *testing.T) {
	all, err := replicated.NewCounter(nil)
	must(t, err)
	t.Cleanup(all.Close)
	for i := range 5 {
		other, err := replicated.NewCounter(nil)
		must(t, err)
		t.Cleanup(other.Close)
		must(t, other.Add(1<<62))
		if i > 0 {
			must(t, other.Add(-1<<62))
		}
		merge(t, other, all)
	}
	if got := all.Value(); got != 1<<62 {
		t.Errorf("%d, want %d", got, int64(1<<62))
	}
	grown, err := replicated.NewGrowCounter(nil)
	must(t, err)
	t.Cleanup(grown.Close)
	for range 5 {
		other, err := replicated.NewGrowCounter(nil)
		must(t, err)
		t.Cleanup(other.Close)
		must(t, other.Add(1<<62))
		merge(t, other, grown)
	}
	if got := grown.Value(); got != math.MaxUint64 {
		t.Errorf("%d, want the largest", got)
	}
}

func TestRegister(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		var registers []*replicated.Register[[]int]
		for _, name := range []string{"a", "b"} {
			r, err := replicated.NewRegister[[]int](nil)
			must(t, err)
			t.Cleanup(r.Close)
			must(t, r.Attach(open(name), "r"))
			registers = append(registers, r)
		}
		a, b := registers[0], registers[1]
		if v, ok := b.Get(); ok {
			t.Error(v)
		}
		must(t, a.Set([]int{1, 2}))
		for v, ok := range b.Watch(t.Context()) {
			if !ok {
				break
			}
			v[0] = 5 // it is the caller's
			if got, ok := b.Get(); !ok || !slices.Equal(got, []int{1, 2}) {
				t.Error(got, ok)
			}
			must(t, a.Delete())
		}
		must(t, a.Delete())
		if v, ok := b.Get(); ok {
			t.Error(v)
		}
	})
}

// Of each type what writes is an error after Close, also what would change nothing; and a
// second Close is nothing.
func TestAllTypesClosed(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		node := open("a")
		s, r := newSet(t, nil), newRegister[string](t, nil)
		c, err := replicated.NewCounter(nil)
		must(t, err)
		g, err := replicated.NewGrowCounter(nil)
		must(t, err)
		for key, one := range map[string]interface {
			Attach(backend.ClusterChannel, string) error
			Close()
		}{"s": s, "r": r, "c": c, "g": g} {
			must(t, one.Attach(node, key))
			one.Close()
			one.Close()
			if err := one.Attach(node, key); !errors.Is(err, backend.ErrClosed) {
				t.Errorf("%s.Attach: %v", key, err)
			}
		}
		for what, err := range map[string]error{
			"Set.Add": s.Add("x"), "Set.Remove": s.Remove("x"), "Register.Set": r.Set("x"), "Register.Delete": r.Delete(),
			"Counter.Add": c.Add(-1), "Counter.Add of 0": c.Add(0), "GrowCounter.Add": g.Add(1), "GrowCounter.Add of 0": g.Add(0),
		} {
			if !errors.Is(err, backend.ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// Whatever two nodes have under one key, each refuses and counts what the other says, and
// keeps its own.
func TestOtherTypesUnderOneKey(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		a, b := open("a"), open("b")
		for i, one := range kinds(t, nil) {
			for j, other := range kinds(t, nil) {
				if i == j {
					continue
				}
				first, second := kinds(t, nil)[i], kinds(t, nil)[j]
				key := fmt.Sprintf("%T beside %T", one, other)
				must(t, first.Attach(a, key))
				must(t, second.Attach(b, key))
				change(t, first)
				change(t, second)
				after(time.Minute)
				for _, s := range []replica{first, second} {
					if n := s.Stats(); n.Entries != 1 || n.Refused == 0 {
						t.Errorf("%s: a %T has %+v", key, s, n)
					}
				}
				first.Close()
				second.Close()
			}
		}
	})
}

// change writes an entry.
func change(t *testing.T, s replica) {
	t.Helper()
	switch s := s.(type) {
	case *replicated.Map[string, string]:
		must(t, s.Set("12345678", ""))
	case *replicated.Map[string, int]:
		must(t, s.Set("12345678", 1))
	case *replicated.Set[string]:
		must(t, s.Add(""))
	case *replicated.Counter:
		must(t, s.Add(1))
	case *replicated.GrowCounter:
		must(t, s.Add(1))
	case *replicated.Register[int]:
		must(t, s.Set(1))
	}
}
