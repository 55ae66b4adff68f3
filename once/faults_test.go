package once_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/once"
)

// A node that dies before it begins: by a goodbye, or a crash that is detected.
func TestTheFirstDiesBefore(t *testing.T) {
	for name, die := range map[string]func(c *fleet){
		"leaves":  func(c *fleet) { c.nodes["a"].stop() },
		"crashes": func(c *fleet) { c.cut("a", true) },
	} {
		t.Run(name, func(t *testing.T) {
			cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
				key := c.key("abc")
				b := c.nodes["b"].do(t.Context(), key, c.nodes["b"].noted(key, 0))
				cc := c.nodes["c"].do(t.Context(), key, c.nodes["c"].noted(key, 0))
				die(c)
				if b.wait(); b.took > crash || b.err != nil {
					t.Errorf("the next has %v after %v", b.err, b.took)
				}
				cc.wait()
				if doers := c.doers(key); !slices.Equal(doers, []string{"b"}) {
					t.Errorf("it was done by %v", doers)
				}
			})
		})
	}
}

// A node that crashes while it works: the next one does it once that is detected.
func TestTheFirstDiesDuring(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		ctx, end := context.WithCancel(t.Context())
		a := c.nodes["a"].do(ctx, key, c.nodes["a"].noted(key, time.Hour))
		b := c.nodes["b"].do(t.Context(), key, c.nodes["b"].noted(key, time.Second))
		cc := c.nodes["c"].do(t.Context(), key, c.nodes["c"].noted(key, time.Second))
		c.pass(20 * time.Second)
		c.cut("a", true)
		b.wait()
		cc.succeeds("b", b.took)
		if b.took > 20*time.Second+crash+time.Second {
			t.Errorf("the next has its result after %v", b.took)
		}
		end()
		a.wait()
		if doers := c.doers(key); !slices.Equal(doers, []string{"b"}) {
			t.Errorf("it was done by %v", doers)
		}
	})
}

// A node that crashes after its work, and before it tells: it is done twice, and where
// the node comes back that is counted, once.
func TestTheFirstDiesBeforeItTells(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		a := c.nodes["a"].do(t.Context(), key, func(ctx context.Context) ([]byte, error) {
			defer c.cut("a", true)
			return c.nodes["a"].noted(key, time.Second)(ctx)
		})
		b := c.nodes["b"].do(t.Context(), key, c.nodes["b"].noted(key, time.Second))
		cc := c.nodes["c"].do(t.Context(), key, c.nodes["c"].noted(key, time.Second))
		a.succeeds("a", time.Second)
		b.wait()
		cc.succeeds("b", b.took)
		if doers := c.doers(key); !slices.Equal(doers, []string{"a", "b"}) {
			t.Errorf("it was done by %v", doers)
		}
		c.cut("a", false)
		c.pass(time.Minute)
		if n := c.doubled(); n != 1 {
			t.Errorf("%v are counted as doubled, want 1", n)
		}
	})
}

// The broker is away: nobody acts until it is back, or the node is isolated.
func TestDetached(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		for name, away := range map[string]time.Duration{"shortly": 5 * time.Second, "for long": time.Minute} {
			key := c.key("abc") + name
			before := c.doubled()
			c.bus.Stop()
			c.pass(moment)
			var calls []*call
			for _, n := range c.nodes {
				calls = append(calls, n.do(t.Context(), key, n.noted(key, 0)))
			}
			c.pass(away)
			c.bus.Start()
			for _, call := range calls {
				if call.wait(); call.err != nil {
					t.Errorf("%s: %s has %v", name, call.n.name, call.err)
				}
			}
			c.pass(time.Minute)
			doers, want := c.doers(key), 1
			if away > grace {
				want = 3 // each believes to be alone
			}
			if doubled := c.doubled() - before; len(doers) != want || doubled != float64(want-1) {
				t.Errorf("away %s it was done by %v, %v are counted as doubled", name, doers, doubled)
			}
		}
	})
}

// A node that never reaches anybody acts as soon as it counts as isolated.
func TestAloneAndDetached(t *testing.T) {
	cluster(t, once.Options{}, "", func(t *testing.T, c *fleet) {
		c.bus.Stop()
		a := c.start("a").do(t.Context(), "key", c.nodes["a"].noted("key", 0))
		if a.wait(); a.err != nil || a.took > 2*grace {
			t.Errorf("it has %v after %v", a.err, a.took)
		}
	})
}

// A partition: both sides do it, and both know when it heals.
func TestPartition(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		for _, side := range []string{"b", "c"} {
			c.bus.Cut("a", side, true)
		}
		c.pass(20 * time.Second)
		var calls []*call
		for _, n := range c.nodes {
			calls = append(calls, n.do(t.Context(), key, n.noted(key, 0)))
		}
		for _, call := range calls {
			if call.wait(); call.err != nil {
				t.Errorf("%s has %v", call.n.name, call.err)
			}
		}
		doers := c.doers(key)
		if slices.Sort(doers); !slices.Equal(doers, []string{"a", "b"}) {
			t.Errorf("it was done by %v", doers)
		}
		for _, side := range []string{"b", "c"} {
			c.bus.Cut("a", side, false)
		}
		c.pass(time.Minute)
		if n := c.doubled(); n != 1 {
			t.Errorf("%v are counted as doubled, want 1", n)
		}
		by := map[string]bool{}
		for _, n := range c.nodes {
			r, err := n.group.Do(t.Context(), key, n.noted(key, 0))
			if by[r.Instance] = true; err != nil {
				t.Error(err)
			}
		}
		if len(by) != 1 {
			t.Error("the nodes know different results")
		}
	})
}

// Members join, and would be first: they see what is done and what was.
func TestJoinersAreFirst(t *testing.T) {
	cluster(t, once.Options{}, "bc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		b := c.nodes["b"].do(t.Context(), key, c.nodes["b"].noted(key, 30*time.Second))
		cc := c.nodes["c"].do(t.Context(), key, c.nodes["c"].noted(key, 0))
		c.pass(10 * time.Second)
		a := c.start("a").do(t.Context(), key, c.nodes["a"].noted(key, 0))
		b.succeeds("b", 30*time.Second)
		cc.succeeds("b", 30*time.Second)
		a.succeeds("b", 20*time.Second)
		if doers := c.doers(key); len(doers) != 1 {
			t.Errorf("it was done by %v", doers)
		}
	})
}

// A node that works longer than its limit, whatever its context says, is not waited
// for any more.
func TestHungWork(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		a := c.nodes["a"].do(t.Context(), key, func(context.Context) ([]byte, error) {
			c.pass(time.Hour)
			return c.nodes["a"].noted(key, 0)(t.Context())
		})
		b := c.nodes["b"].do(t.Context(), key, c.nodes["b"].noted(key, 0))
		cc := c.nodes["c"].do(t.Context(), key, c.nodes["c"].noted(key, 0))
		b.wait()
		cc.succeeds("b", b.took)
		if b.took > limit+2*turn+moment {
			t.Errorf("the next has its result after %v", b.took)
		}
		<-a.ended
		if a.err != nil || a.result.By != "a" || !a.result.Here {
			t.Errorf("it had hung, and has %+v, %v", a.result, a.err)
		}
		if n := c.doubled(); n != 1 {
			t.Errorf("%v are counted as doubled, want 1", n)
		}
	})
}

// All nodes stop, and one starts: it knows what was kept.
func TestKept(t *testing.T) {
	for name, times := range map[string]int{"in memory": 2, "kept": 1} {
		t.Run(name, func(t *testing.T) {
			cluster(t, once.Options{}, "", func(t *testing.T, c *fleet) {
				var kept []byte
				if name == "kept" {
					c.kept = &kept
				}
				for range 2 {
					n := c.start("a")
					if _, err := n.group.Do(t.Context(), "key", n.noted("key", 0)); err != nil {
						t.Error(err)
					}
					n.stop()
				}
				if doers := c.doers("key"); len(doers) != times {
					t.Errorf("it was done by %v, want %d times", doers, times)
				}
			})
		})
	}
}

// A partition heals: a node that asks as soon as it sees the others again knows what
// they did meanwhile.
func TestAskedWhenHealed(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		for i := range 40 {
			key := c.key("abc") + fmt.Sprint(i)
			part := func(cut bool) {
				for _, other := range []string{"b", "c"} {
					c.bus.Cut("a", other, cut)
				}
			}
			part(true)
			c.pass(crash + grace)
			b := c.nodes["b"]
			if _, err := b.group.Do(t.Context(), key, b.noted(key, 0)); err != nil {
				t.Fatal(err)
			}
			part(false)
			a := c.nodes["a"]
			for v := range a.cluster.Watch(t.Context()) {
				if len(v.Members) > 1 {
					break
				}
			}
			if _, err := a.group.Do(t.Context(), key, a.noted(key, 0)); err != nil {
				t.Error(err)
			}
			if doers := c.doers(key); len(doers) != 1 {
				t.Errorf("it was done by %v", doers)
			}
			c.pass(time.Minute)
		}
	})
}

// All nodes of a cluster start at once, and each calls at once.
func TestAllStart(t *testing.T) {
	for _, apart := range []time.Duration{0, 10 * time.Millisecond, time.Second} {
		t.Run(apart.String(), func(t *testing.T) {
			cluster(t, once.Options{}, "", func(t *testing.T, c *fleet) {
				var calls []*call
				for _, name := range []string{"a", "b", "c"} {
					n := c.start(name)
					calls = append(calls, n.do(t.Context(), "key", n.noted("key", 0)))
					c.pass(apart)
				}
				for _, call := range calls {
					if call.wait(); call.err != nil {
						t.Error(call.err)
					}
				}
				if doers := c.doers("key"); len(doers) != 1 {
					t.Errorf("it was done by %v", doers)
				}
			})
		})
	}
}

// The node is closed while it works, which ends what can be told.
func TestTheNodeIsClosedMeanwhile(t *testing.T) {
	cluster(t, once.Options{}, "ab", func(t *testing.T, c *fleet) {
		key := c.key("ab")
		a, b := c.nodes["a"], c.nodes["b"]
		r, err := a.group.Do(t.Context(), key, func(ctx context.Context) ([]byte, error) {
			if err := a.cluster.Close(ctx); err != nil {
				t.Error(err)
			}
			return a.noted(key, 0)(ctx)
		})
		if !errors.Is(err, once.ErrUntold) || !errors.Is(err, backend.ErrClosed) || !r.Here || string(r.Value) != "by a" {
			t.Errorf("work whose node was closed has %+v, %v", r, err)
		}
		if n := a.metric("clusterchannel_once_untold_total"); n != 1 {
			t.Errorf("%v are counted as untold", n)
		}
		b.do(t.Context(), key, b.noted(key, 0)).succeeds("b", 0)
	})
}

// A group is closed while its node is away: what was done since, or just before, is
// known to nobody, which is an error. What was done well before is no matter.
func TestClosedWhileAway(t *testing.T) {
	for name, c := range map[string]struct {
		away, back time.Duration // after the work began, and after it ended
		untold     bool
	}{
		"away when it ends":    {time.Second, 0, true},
		"away for long":        {time.Second, 2 * grace, true},
		"away soon afterwards": {3 * time.Second, 0, true},
		"away much later":      {time.Minute, 0, false},
		"there again":          {time.Second, -1, false},
	} {
		t.Run(name, func(t *testing.T) {
			cluster(t, once.Options{}, "ab", func(t *testing.T, f *fleet) {
				key := f.key("ab")
				a := f.nodes["a"]
				call := a.do(t.Context(), key, a.noted(key, 2*time.Second))
				f.pass(c.away)
				f.bus.Stop()
				call.succeeds("a", 2*time.Second)
				if f.pass(moment); c.back < 0 {
					f.bus.Start()
					f.pass(grace)
				} else {
					f.pass(c.back)
				}
				a.stopped = true
				err := a.group.Close(t.Context())
				if errors.Is(err, once.ErrUntold) != c.untold || err != nil && !c.untold {
					t.Errorf("Close returns %v", err)
				}
				if again := a.group.Close(t.Context()); fmt.Sprint(again) != fmt.Sprint(err) {
					t.Errorf("and then %v", again)
				}
				if err := a.cluster.Close(t.Context()); err != nil {
					t.Error(err)
				}
				f.bus.Start()
				b := f.nodes["b"]
				r, err := b.group.Do(t.Context(), key, b.noted(key, 0))
				if err != nil || (r.By == "b") != (c.untold && name != "away soon afterwards") {
					t.Errorf("the other node has %+v, %v", r, err)
				}
			})
		})
	}
}

// What has a life that is shorter than its work may take is done again at once after it.
func TestShortLife(t *testing.T) {
	cluster(t, once.Options{Life: time.Second}, "ab", func(t *testing.T, c *fleet) {
		key := c.key("ba")
		a, b := c.nodes["a"], c.nodes["b"]
		a.do(t.Context(), key, a.noted(key, 0)).succeeds("a", turn)
		c.pass(2 * time.Second)
		b.do(t.Context(), key, b.noted(key, 0)).succeeds("b", 0)
	})
}
