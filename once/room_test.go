package once_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/once"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// sized returns work whose value has that many bytes.
func (n *node) sized(key string, size int) func(context.Context) ([]byte, error) {
	work := n.noted(key, 0)
	return func(ctx context.Context) ([]byte, error) {
		_, err := work(ctx)
		return make([]byte, size), err
	}
}

// As many keys are remembered as MaxKeys says, however few. The work for more is done,
// and the caller is told, by the name of the option.
func TestFull(t *testing.T) {
	for _, most := range []int{1, 2, 10} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			cluster(t, once.Options{MaxKeys: most, Life: time.Hour}, "ab", func(t *testing.T, c *fleet) {
				a := c.nodes["a"]
				for i := range 100 {
					key := fmt.Sprint(i)
					r, err := a.group.Do(t.Context(), key, a.noted(key, 0))
					if untold := errors.Is(err, once.ErrUntold) && errors.Is(err, replicated.ErrFull); !r.Here || untold != (i >= most) || err != nil && !untold {
						t.Errorf("the key %d has %+v, %v", i, r, err)
					}
					if err != nil && (!strings.Contains(err.Error(), fmt.Sprint("MaxKeys is ", most)) || strings.Contains(err.Error(), "MaxEntries")) {
						t.Error(err)
					}
					if doers := c.doers(key); len(doers) != 1 {
						t.Errorf("%s was done by %v", key, doers)
					}
				}
				if counted := a.metric("clusterchannel_once_untold_total"); counted != float64(100-most) {
					t.Errorf("%v are counted as untold", counted)
				}
				c.pass(2 * time.Hour)
				if _, err := a.group.Do(t.Context(), "room", a.noted("room", 0)); err != nil {
					t.Errorf("when the others are forgotten: %v", err)
				}
			})
		})
	}
}

// Two parts of a cluster that were full know all when they meet, and have no room then.
func TestFullApart(t *testing.T) {
	cluster(t, once.Options{MaxKeys: 10, ByPosition: true}, "ab", func(t *testing.T, c *fleet) {
		a, b := c.nodes["a"], c.nodes["b"]
		c.cut("a", true)
		c.pass(grace)
		for i := range 10 {
			for _, n := range c.nodes {
				if _, err := n.group.Do(t.Context(), fmt.Sprint(n.name, i), n.noted("", 0)); err != nil {
					t.Error(err)
				}
			}
		}
		c.cut("a", false)
		c.pass(time.Minute)
		for i := range 10 {
			for n, other := range map[*node]*node{a: b, b: a} {
				if r, err := n.group.Do(t.Context(), fmt.Sprint(other.name, i), n.noted("", 0)); err != nil || r.By != other.name {
					t.Errorf("%s has %+v, %v", n.name, r, err)
				}
			}
		}
		if _, err := a.group.Do(t.Context(), "another", a.noted("", 0)); !errors.Is(err, once.ErrUntold) || !errors.Is(err, replicated.ErrFull) {
			t.Errorf("with twice as many keys: %v", err)
		}
	})
}

// Attempts that fail take no room from results.
func TestFullOfAttempts(t *testing.T) {
	cluster(t, once.Options{MaxKeys: 10, ByPosition: true}, "ab", func(t *testing.T, c *fleet) {
		a, b := c.nodes["a"], c.nodes["b"]
		for i := range 5000 {
			_, err := a.group.Do(t.Context(), fmt.Sprint("fails-", i), func(context.Context) ([]byte, error) { return nil, errors.New("no luck") })
			if !errors.Is(err, once.ErrFailed) {
				t.Fatal(err)
			}
		}
		for i := range 10 {
			key := fmt.Sprint(i)
			if _, err := a.group.Do(t.Context(), key, a.noted(key, 0)); err != nil {
				t.Error(err)
			}
			c.pass(moment)
			if r, err := b.group.Do(t.Context(), key, b.noted(key, 0)); err != nil || r.By != "a" {
				t.Errorf("the other node has %+v, %v", r, err)
			}
		}
	})
}

// Values take up the room that there is for them. All that is done after that is told
// without its value, so that nobody does it again.
func TestFullOfValues(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills two nodes with 256 MiB each")
	}
	cluster(t, once.Options{ByPosition: true}, "ab", func(t *testing.T, c *fleet) {
		const keys, size = 4500, 64 << 10
		a, b := c.nodes["a"], c.nodes["b"]
		bare := 0
		for i := range keys {
			key := fmt.Sprint(i)
			r, err := a.group.Do(t.Context(), key, a.sized(key, size))
			switch {
			case errors.Is(err, once.ErrUntold) && errors.Is(err, replicated.ErrFull) && len(r.Value) == size:
				bare++
			case err != nil || bare > 0:
				t.Fatalf("the key %d: %v", i, err)
			}
			if i%100 == 0 {
				c.pass(moment)
			}
		}
		if bare < 200 || bare > 600 {
			t.Errorf("%d of %d values of %d bytes are not told", bare, keys, size)
		}
		c.pass(time.Minute)
		for i := range keys {
			key, want := fmt.Sprint(i), size
			if i >= keys-bare {
				want = 0
			}
			if r, err := b.group.Do(t.Context(), key, b.noted(key, 0)); err != nil || r.By != "a" || len(r.Value) != want {
				t.Fatalf("of the key %d the other node has %d bytes by %q, %v", i, len(r.Value), r.By, err)
			}
		}
		if n := c.doubled(); n != 0 {
			t.Errorf("%v are counted as doubled", n)
		}
	})
}

// A value that is allowed and can be sent is told as it is. One that is too large is
// not, and that the work was done is.
func TestLargeValues(t *testing.T) {
	for name, c := range map[string]struct {
		payload, size int
		whole         bool
	}{
		"the largest":                  {0, 64 << 10, true},
		"above what is allowed":        {0, 64<<10 + 1, false},
		"almost max_payload":           {64 << 10, 64<<10 - 512, true},
		"max_payload":                  {64 << 10, 64 << 10, false},
		"above max_payload":            {1024, 1200, false},
		"below a max_payload of 1 KiB": {1024, 600, true},
	} {
		t.Run(name, func(t *testing.T) {
			cluster(t, once.Options{}, "", func(t *testing.T, f *fleet) {
				f.payload = c.payload
				a, b := f.start("a"), f.start("b")
				r, err := a.group.Do(t.Context(), "large", a.sized("large", c.size))
				if !c.whole && (!errors.Is(err, once.ErrUntold) || !errors.Is(err, backend.ErrTooLarge)) || c.whole && err != nil || !r.Here || len(r.Value) != c.size {
					t.Errorf("%d bytes, here: %v, %v", len(r.Value), r.Here, err)
				}
				want := 0
				if c.whole {
					want = c.size
				}
				f.pass(moment)
				if r, err := b.group.Do(t.Context(), "large", b.noted("large", 0)); err != nil || r.Here || r.By != "a" || len(r.Value) != want {
					t.Errorf("the other node has %d bytes by %q, here: %v, %v", len(r.Value), r.By, r.Here, err)
				}
			})
		})
	}
}

// Who waits for work whose value is too large, and would be next, learns that it was
// done, and does not do it again.
func TestLargeValueWhileOthersWait(t *testing.T) {
	cluster(t, once.Options{}, "", func(t *testing.T, c *fleet) {
		c.payload = 1024
		a, b := c.start("a"), c.start("b")
		c.pass(grace)
		key := c.key("ab")
		does := b.do(t.Context(), key, func(ctx context.Context) ([]byte, error) {
			c.pass(time.Minute / 2)
			return b.sized(key, 1200)(ctx)
		})
		c.pass(2 * turn)
		waits := a.do(t.Context(), key, a.noted(key, 0))
		if does.wait(); !errors.Is(does.err, once.ErrUntold) || !does.result.Here {
			t.Errorf("b has %v by %q", does.err, does.result.By)
		}
		if waits.wait(); waits.err != nil || waits.result.By != "b" || waits.result.Value != nil {
			t.Errorf("a has %+v, %v", waits.result, waits.err)
		}
		if doers := c.doers(key); len(doers) != 1 {
			t.Errorf("%s was done by %v", key, doers)
		}
	})
}

// Values are any bytes.
func TestAnyValue(t *testing.T) {
	cluster(t, once.Options{}, "ab", func(t *testing.T, c *fleet) {
		a, b := c.nodes["a"], c.nodes["b"]
		for _, value := range []string{"", "\n", "\n\n{}", "{\"by\":\"x\"}\n", "\xff\x00", strings.Repeat("\n", 1000)} {
			key := fmt.Sprintf("%.20q", value)
			if r, err := a.group.Do(t.Context(), key, func(context.Context) ([]byte, error) { return []byte(value), nil }); err != nil || string(r.Value) != value {
				t.Errorf("%q, %v", r.Value, err)
			}
			c.pass(moment)
			if r, err := b.group.Do(t.Context(), key, b.noted(key, 0)); err != nil || string(r.Value) != value || r.By != "a" {
				t.Errorf("the other node has %q by %q, %v", r.Value, r.By, err)
			}
		}
	})
}
