package once_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/once"
)

// month is how far ahead of the virtual time all clocks are: that begins with the year
// 2000, before which a clock was never set.
const month = 30 * 24 * time.Hour

// apart runs f in virtual time with three nodes, of which b's clock is ahead of a's, and
// c's behind it.
func apart(t *testing.T, o once.Options, by time.Duration, f func(t *testing.T, c *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bus := memory.NewBus()
		defer bus.Remove()
		c := &fleet{
			t: t, bus: bus, opts: o, nodes: map[string]*node{}, done: map[string][]*node{},
			apart: map[string]time.Duration{"a": month, "b": month + by/2, "c": month - by/2},
		}
		defer c.end()
		for _, name := range []string{"a", "b", "c"} {
			c.start(name)
		}
		for _, n := range c.nodes {
			if err := n.cluster.WaitReady(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		f(t, c)
	})
}

// orders are all of three.
var orders = []string{"abc", "acb", "bac", "bca", "cab", "cba"}

// Clocks are apart, by up to what the documentation says: what all call for is done once,
// however long it takes, and who calls later knows it.
func TestClocksApart(t *testing.T) {
	short := once.Options{Turn: 100 * time.Millisecond, Limit: 10 * time.Second, Life: 8 * time.Minute}
	for _, c := range []struct {
		opts  once.Options
		apart time.Duration
	}{
		{once.Options{}, time.Second}, {once.Options{}, 2 * time.Minute}, {once.Options{}, time.Hour},
		{short, time.Second}, {short, 2 * time.Minute},
	} {
		for _, takes := range []time.Duration{0, 9 * time.Second, 55 * time.Second} {
			if c.opts.Limit > 0 && takes > c.opts.Limit {
				continue
			}
			t.Run(fmt.Sprint(c.opts.Life, c.apart, takes), func(t *testing.T) {
				apart(t, c.opts, c.apart, func(t *testing.T, c *fleet) {
					for _, order := range orders {
						key := c.key(order)
						var calls []*call
						for _, n := range c.nodes {
							calls = append(calls, n.do(t.Context(), key, n.noted(key, takes)))
						}
						for _, call := range calls {
							call.succeeds(order[:1], takes)
						}
						c.pass(time.Minute)
						for _, n := range c.nodes {
							n.do(t.Context(), key, n.noted(key, 0)).wait()
						}
						if doers := c.doers(key); !slices.Equal(doers, []string{order[:1]}) {
							t.Errorf("%s was done by %v", order, doers)
						}
					}
					if n := c.doubled(); n != 0 {
						t.Errorf("%v are counted as doubled", n)
					}
				})
			})
		}
	}
}

// Clocks are apart by hours: what takes less than a turn is done once, and what takes
// longer by those whose clock is ahead too, which is counted.
func TestClocksApartByHours(t *testing.T) {
	for takes, most := range map[time.Duration]int{turn - moment: 1, 55 * time.Second: 3} {
		t.Run(takes.String(), func(t *testing.T) {
			apart(t, once.Options{}, 12*time.Hour, func(t *testing.T, c *fleet) {
				extra := 0
				for _, order := range orders {
					key := c.key(order)
					var calls []*call
					for _, n := range c.nodes {
						calls = append(calls, n.do(t.Context(), key, n.noted(key, takes)))
					}
					for _, call := range calls {
						if call.wait(); call.err != nil {
							t.Error(call.err)
						}
					}
					doers := c.doers(key)
					if len(doers) < 1 || len(doers) > most {
						t.Errorf("%s was done by %v", order, doers)
					}
					extra += len(doers) - 1
				}
				c.pass(time.Minute)
				if n := c.doubled(); n != float64(extra) {
					t.Errorf("%v are counted as doubled, %v were", n, extra)
				}
				if most > 1 && extra == 0 {
					t.Error("nothing was done twice: the bound that is documented is too low")
				}
			})
		})
	}
}

// A clock is a day and more behind, or ahead: that node is alone with what it does, as is
// documented; nothing is left undone.
func TestClocksApartByDays(t *testing.T) {
	apart(t, once.Options{}, 10*24*time.Hour, func(t *testing.T, c *fleet) {
		key := c.key("abc")
		for _, n := range c.nodes {
			if r, err := n.group.Do(t.Context(), key, n.noted(key, 0)); err != nil || !r.Here {
				t.Errorf("%s has %+v, %v", n.name, r, err)
			}
			if v := n.cluster.View(); v.Status != backend.Attached || len(v.Members) != 3 {
				t.Errorf("%s has %v, %d members", n.name, v.Status, len(v.Members))
			}
		}
	})
}
