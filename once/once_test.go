package once_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/once"
)

// While all is well each key is done exactly once, at once, and all have its result.
func TestOnceWhileAllIsWell(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		count := map[string]int{}
		for i := range 60 {
			key := fmt.Sprintf("report-%d", i)
			var calls []*call
			for _, n := range c.nodes {
				calls = append(calls, n.do(t.Context(), key, n.noted(key, time.Second)))
			}
			for _, call := range calls {
				call.wait()
				call.succeeds(call.result.By, time.Second)
			}
			doers := c.doers(key)
			if len(doers) != 1 || doers[0] != calls[0].result.By {
				t.Errorf("%s was done by %v, and the result is %s's", key, doers, calls[0].result.By)
			}
			count[calls[0].result.By]++
		}
		for name := range c.nodes {
			if count[name] < 10 {
				t.Errorf("%s did %d of 60, want about a third", name, count[name])
			}
		}
		a := c.nodes["a"]
		if here, elsewhere := a.metric("clusterchannel_once_calls_total", "here"), a.metric("clusterchannel_once_calls_total", "elsewhere"); here+elsewhere != 60 || int(here) != count["a"] {
			t.Errorf("a counts %v done here, %v elsewhere", here, elsewhere)
		}
		if n := c.doubled(); n != 0 {
			t.Errorf("%v are counted as doubled", n)
		}
	})
}

func TestByPosition(t *testing.T) {
	cluster(t, once.Options{ByPosition: true}, "abc", func(t *testing.T, c *fleet) {
		for i := range 20 {
			key := fmt.Sprint(i)
			calls := []*call{}
			for _, n := range c.nodes {
				calls = append(calls, n.do(t.Context(), key, n.noted(key, 0)))
			}
			for _, call := range calls {
				call.succeeds("a", 0)
			}
		}
	})
}

// Who is later sees the result of who was earlier, and does nothing.
func TestLater(t *testing.T) {
	cluster(t, once.Options{Life: time.Hour}, "ab", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		a, b := c.nodes["a"], c.nodes["b"]
		a.do(t.Context(), key, a.noted(key, 0)).succeeds("a", 0)
		a.do(t.Context(), key, a.noted(key, 0)).wait()
		c.pass(30 * time.Minute)
		b.do(t.Context(), key, b.noted(key, 0)).succeeds("a", 0)
		joined := c.start("c")
		joined.do(t.Context(), key, joined.noted(key, 0)).wait()
		a.stop()
		again := c.start("a")
		if r, err := again.group.Do(t.Context(), key, again.noted(key, 0)); err != nil || r.By != "a" || r.Here || r.Instance == again.cluster.View().Self().Instance {
			t.Errorf("a node that was restarted has %+v, %v", r, err)
		}
		if doers := c.doers(key); len(doers) != 1 {
			t.Errorf("it was done by %v", doers)
		}
		c.pass(31 * time.Minute)
		b.do(t.Context(), key, b.noted(key, 0)).wait()
		if doers := c.doers(key); len(doers) != 2 {
			t.Errorf("after its life it was done by %v, want twice", doers)
		}
	})
}

// Only some nodes call Do, or late.
func TestTurns(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		b := c.nodes["b"].do(t.Context(), key, c.nodes["b"].noted(key, 0))
		cc := c.nodes["c"].do(t.Context(), key, c.nodes["c"].noted(key, 0))
		b.succeeds("b", turn)
		cc.succeeds("b", turn)
		c.pass(moment)
		a := c.nodes["a"].do(t.Context(), key, c.nodes["a"].noted(key, 0))
		a.succeeds("b", 0)
		if doers := c.doers(key); !slices.Equal(doers, []string{"b"}) {
			t.Errorf("it was done by %v", doers)
		}
	})
}

// A node that works for long is waited for.
func TestLongWork(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		var calls []*call
		for _, n := range c.nodes {
			calls = append(calls, n.do(t.Context(), key, n.noted(key, 50*time.Second)))
		}
		for _, call := range calls {
			call.succeeds("a", 50*time.Second)
		}
		if doers := c.doers(key); len(doers) != 1 {
			t.Errorf("it was done by %v", doers)
		}
	})
}

func TestTheNextTriesWhatFailed(t *testing.T) {
	broken := errors.New("broken")
	for name, f := range map[string]func(context.Context) ([]byte, error){
		"an error": func(context.Context) ([]byte, error) { return nil, broken },
		"a panic":  func(context.Context) ([]byte, error) { panic(broken) },
		"its end":  func(context.Context) ([]byte, error) { runtime.Goexit(); return nil, nil },
		"too long": func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, broken },
	} {
		t.Run(name, func(t *testing.T) {
			cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
				after := time.Duration(0)
				if name == "too long" {
					after = limit
				}
				key := c.key("abc")
				a := c.nodes["a"].do(t.Context(), key, f)
				b := c.nodes["b"].do(t.Context(), key, c.nodes["b"].noted(key, 0))
				cc := c.nodes["c"].do(t.Context(), key, c.nodes["c"].noted(key, 0))
				b.succeeds("b", after)
				cc.succeeds("b", after)
				a.wait()
				if name != "its end" && (!errors.Is(a.err, once.ErrFailed) || !strings.Contains(a.err.Error(), "broken") || !strings.Contains(a.err.Error(), key)) {
					t.Errorf("the one that failed has %v", a.err)
				}
				if name == "too long" && !strings.Contains(a.err.Error(), "Options.Limit (1m0s)") {
					t.Errorf("the one that took too long has %v", a.err)
				}
				if doers := c.doers(key); len(doers) != 1 {
					t.Errorf("it was done by %v", doers)
				}
				again := c.nodes["a"].do(t.Context(), key, f)
				again.succeeds("b", 0)
			})
		})
	}
}

// Where all fail, all are told so, and try again in order.
func TestAllFail(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key, order := c.key("cab"), ""
		fails := true
		try := func() (calls []*call) {
			for _, n := range c.nodes {
				calls = append(calls, n.do(t.Context(), key, func(ctx context.Context) ([]byte, error) {
					order += n.name // one after the other
					if fails {
						return nil, errors.New("no luck")
					}
					return n.noted(key, 0)(ctx)
				}))
			}
			return calls
		}
		for _, call := range try() {
			if call.wait(); !errors.Is(call.err, once.ErrFailed) {
				t.Errorf("%s has %v", call.n.name, call.err)
			}
		}
		fails = false
		for _, call := range try() {
			call.succeeds("c", 0)
		}
		if order != "cabc" {
			t.Errorf("the order of attempts is %q", order)
		}
	})
}

// The first in order, which has failed, calls again at once: it is behind the others.
func TestFailedIsBehind(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		a := c.nodes["a"]
		a.do(t.Context(), key, func(context.Context) ([]byte, error) { return nil, errors.New("no luck") }).wait()
		again := a.do(t.Context(), key, a.noted(key, 0))
		b := c.nodes["b"].do(t.Context(), key, c.nodes["b"].noted(key, time.Second))
		b.succeeds("b", time.Second)
		again.succeeds("b", time.Second)
	})
}

// Two calls on one node are one after the other.
func TestTwiceOnOneNode(t *testing.T) {
	cluster(t, once.Options{}, "ab", func(t *testing.T, c *fleet) {
		key := c.key("ab")
		a := c.nodes["a"]
		calls := []*call{}
		for range 5 {
			calls = append(calls, a.do(t.Context(), key, a.noted(key, time.Second)))
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := a.group.Do(ctx, key, a.noted(key, 0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call whose context ends has %v", err)
		}
		here := 0
		for _, call := range calls {
			if call.wait(); call.err != nil || call.result.By != "a" {
				t.Errorf("%+v, %v", call.result, call.err)
			}
			if call.result.Here {
				here++
			}
		}
		if doers := c.doers(key); len(doers) != 1 || here != 1 {
			t.Errorf("it was done by %v; %d have done it", doers, here)
		}
	})
}

func TestContextEnds(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		a, b := c.nodes["a"], c.nodes["b"]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waits := b.do(ctx, key, b.noted(key, 0))
		if waits.wait(); !errors.Is(waits.err, context.DeadlineExceeded) || waits.took != time.Second {
			t.Errorf("while it waits: %v after %v", waits.err, waits.took)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		acts := a.do(ctx, key, a.noted(key, time.Hour))
		next := b.do(t.Context(), key, b.noted(key, 0))
		if acts.wait(); !errors.Is(acts.err, context.DeadlineExceeded) || !errors.Is(acts.err, once.ErrFailed) {
			t.Errorf("while it acts: %v", acts.err)
		}
		next.succeeds("b", time.Second)
		done, why := context.WithCancelCause(t.Context())
		why(errors.New("a reason of the caller's"))
		if _, err := a.group.Do(done, c.key("cba"), a.noted("never", 0)); !errors.Is(err, context.Canceled) || len(c.doers("never")) > 0 {
			t.Errorf("with a done context: %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		key := c.key("abc")
		a, b := c.nodes["a"], c.nodes["b"]
		acts := a.do(t.Context(), key, a.noted(key, 3*time.Second))
		synctest.Wait()
		waits := a.do(t.Context(), key, a.noted(key, 0))
		other := b.do(t.Context(), key, b.noted(key, 0))
		c.pass(time.Second)
		a.stop()
		acts.succeeds("a", 3*time.Second)
		if waits.wait(); !errors.Is(waits.err, backend.ErrClosed) {
			t.Errorf("a call that waited has %v", waits.err)
		}
		other.succeeds("a", 3*time.Second)
		if _, err := a.group.Do(t.Context(), key, a.noted(key, 0)); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if families, err := a.registry.Gather(); err != nil || len(families) > 0 {
			t.Errorf("after Close %d metrics are registered, %v", len(families), err)
		}
		waits = c.nodes["c"].do(t.Context(), c.key("bac"), c.nodes["c"].noted("never", 0))
		c.pass(time.Second)
		if err := c.nodes["c"].cluster.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if waits.wait(); !errors.Is(waits.err, backend.ErrClosed) {
			t.Errorf("a call whose cluster is closed has %v", waits.err)
		}
	})
}

func TestCloseGivesUp(t *testing.T) {
	cluster(t, once.Options{}, "a", func(t *testing.T, c *fleet) {
		a := c.nodes["a"]
		acts := a.do(t.Context(), "key", func(context.Context) ([]byte, error) { c.pass(time.Hour); return nil, nil })
		c.pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.group.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close returned %v", err)
		}
		<-acts.ended
		if !errors.Is(acts.err, once.ErrUntold) || !acts.result.Here {
			t.Errorf("work that ended after Close has %+v, %v", acts.result, acts.err)
		}
		a.stopped = true
		if err := a.cluster.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestBadInput(t *testing.T) {
	cluster(t, once.Options{}, "a", func(t *testing.T, c *fleet) {
		a := c.nodes["a"]
		for _, o := range []once.Options{{Turn: -1}, {Turn: time.Microsecond}, {Limit: 48 * time.Hour}, {Life: -time.Second}, {MaxKeys: -1}, {MaxKeys: 1 << 30}, {MaxKeys: 1 << 62}, {Key: strings.Repeat("k", 256)}} {
			if _, err := once.New(a.cluster, &o); !errors.Is(err, backend.ErrConfig) {
				t.Errorf("%+v: %v", o, err)
			}
		}
		if _, err := once.New(a.cluster, nil); !errors.Is(err, backend.ErrConfig) {
			t.Errorf("a second group under one key: %v", err)
		}
		for _, key := range []string{"", "\xff", strings.Repeat("k", 256)} {
			if _, err := a.group.Do(t.Context(), key, a.noted(key, 0)); !errors.Is(err, backend.ErrConfig) {
				t.Errorf("the key %q: %v", key, err)
			}
		}
		if _, err := a.group.Do(t.Context(), "key", nil); !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), `"key"`) {
			t.Errorf("no work: %v", err)
		}
		for _, g := range []*once.Group{nil, {}} {
			if _, err := g.Do(t.Context(), "key", a.noted("key", 0)); !errors.Is(err, backend.ErrConfig) {
				t.Errorf("a Group that New did not make: %v", err)
			}
			if err := g.Close(t.Context()); err != nil {
				t.Errorf("Close of it: %v", err)
			}
		}
		if _, err := once.New(nil, nil); !errors.Is(err, backend.ErrConfig) {
			t.Errorf("without a node: %v", err)
		}
		if doers := c.doers("key"); len(doers) > 0 {
			t.Errorf("it was done by %v", doers)
		}
	})
}

// Work that would wait for itself is told so at once, and goes on.
func TestWorkThatWouldWaitForItself(t *testing.T) {
	cluster(t, once.Options{}, "a", func(t *testing.T, c *fleet) {
		a, later := c.nodes["a"], t.Context()
		try := func(ctx context.Context, key string, f func(context.Context) ([]byte, error)) error {
			_, err := a.group.Do(ctx, key, f)
			return err
		}
		refused := func(what string, err error) {
			if !errors.Is(err, backend.ErrConfig) {
				t.Errorf("%s: %v", what, err)
			}
		}
		a.do(t.Context(), "key", func(ctx context.Context) ([]byte, error) {
			refused("Do for its own key", try(ctx, "key", a.noted("never", 0)))
			err := try(ctx, "other", func(ctx context.Context) ([]byte, error) {
				return nil, try(ctx, "key", a.noted("never", 0))
			})
			refused("Do for its own key by other work", err)
			later = context.WithoutCancel(ctx)
			return []byte("by a"), try(ctx, "another", a.noted("another", 0))
		}).succeeds("a", 0)
		if err := try(later, "key", a.noted("never", 0)); err != nil {
			t.Errorf("Do when the work is over: %v", err)
		}
		if n := len(c.doers("never")); n > 0 || len(c.doers("another")) != 1 {
			t.Errorf("work for its own key ran %d times, and for another one by %v", n, c.doers("another"))
		}
	})
}

// A call whose context is done does nothing, though it is its node's turn.
func TestContextIsDone(t *testing.T) {
	cluster(t, once.Options{}, "a", func(t *testing.T, c *fleet) {
		a := c.nodes["a"]
		done, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.group.Do(done, "key", a.noted("key", 0)); !errors.Is(err, context.Canceled) || len(c.doers("key")) > 0 {
			t.Errorf("%v, and it was done by %v", err, c.doers("key"))
		}
		for share := range once.Owned(done, a.cluster, []string{"key"}) {
			t.Errorf("it owns %q", share.Keys)
		}
	})
}
