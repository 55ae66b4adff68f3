package once_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/once"
)

var (
	firstSeed = flag.Uint64("seed", 1, "of the first random run")
	seeds     = flag.Int("seeds", 25, "how many random runs there are")
)

// TestRandom has nodes call Do at random times, with work that is slow or fails, while
// nodes are cut off, crash, leave and come back. Whatever happens each call that is not
// given up ends, and no key that somebody called for is left undone. Where nothing
// happens but failing work it is done once.
func TestRandom(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		for _, faults := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d,faults=%v", seed, faults), func(t *testing.T) {
				o := []once.Options{{}, {ByPosition: true}, {Turn: 100 * time.Millisecond}, {Limit: 10 * time.Second}}[seed%4]
				cluster(t, o, "abcd", func(t *testing.T, c *fleet) {
					r := &random{c, rand.New(rand.NewPCG(seed, 1)), faults, map[string][]*call{}}
					r.run()
				})
			})
		}
	}
}

// random is one run.
type random struct {
	*fleet
	rand   *rand.Rand
	faults bool
	calls  map[string][]*call
}

var errUnlucky = errors.New("unlucky")

func (r *random) upTo(d time.Duration) time.Duration { return time.Duration(r.rand.Int64N(int64(d))) }

func (r *random) run() {
	for i := range 6 {
		key := fmt.Sprint("key-", i)
		for _, name := range []string{"a", "b", "c", "d"} {
			for range r.rand.IntN(3) {
				r.call(key, r.nodes[name])
			}
		}
		if r.faults {
			r.fault()
		}
		r.pass(r.upTo(20 * time.Second))
	}
	for x := range r.nodes {
		for y := range r.nodes {
			r.bus.Cut(x, y, false)
		}
	}
	r.bus.Start()
	r.pass(5 * time.Minute)
	for key, calls := range r.calls {
		r.judge(key, calls)
	}
}

// call has a node call Do soon.
func (r *random) call(key string, n *node) {
	late, took, fails := r.upTo(2*turn), r.upTo(20*time.Second), r.rand.IntN(5) == 0
	ctx, cancel := r.t.Context(), context.CancelFunc(func() {})
	if r.rand.IntN(6) == 0 {
		ctx, cancel = context.WithTimeout(ctx, r.upTo(20*time.Second))
	}
	c := &call{n: n, ended: make(chan struct{})}
	r.calls[key] = append(r.calls[key], c)
	work := n.noted(key, took)
	go func() {
		defer close(c.ended)
		defer cancel()
		r.pass(late)
		c.result, c.err = n.group.Do(ctx, key, func(ctx context.Context) ([]byte, error) {
			if fails {
				r.pass(took)
				return nil, errUnlucky
			}
			return work(ctx)
		})
	}()
}

// fault does something bad.
func (r *random) fault() {
	names := []string{"a", "b", "c", "d"}
	x, y := names[r.rand.IntN(4)], names[r.rand.IntN(4)]
	switch r.rand.IntN(6) {
	case 0:
		r.bus.Cut(x, y, true)
	case 1:
		r.cut(x, true)
	case 2:
		r.cut(x, false)
	case 3:
		r.bus.Stop()
		r.pass(r.upTo(2 * grace))
		r.bus.Start()
	case 4:
		n := r.nodes[x]
		n.stop()
		r.pass(r.upTo(2 * crash))
		r.start(x)
	case 5:
		for _, x := range []string{"a", "b"} {
			for _, y := range []string{"c", "d"} {
				r.bus.Cut(x, y, true)
			}
		}
	}
}

// judge looks at what came of a key.
func (r *random) judge(key string, calls []*call) {
	doers, asked := r.doers(key), false
	for _, c := range calls {
		select {
		case <-c.ended:
		default:
			r.t.Errorf("%s: %s waits although all is well", key, c.n.name)
			continue
		}
		switch {
		case c.err == nil && !slices.Contains(doers, c.result.By):
			r.t.Errorf("%s: %s has a result of %s, it was done by %v", key, c.n.name, c.result.By, doers)
		case c.err == nil:
			asked = true
		case errors.Is(c.err, errUnlucky), errors.Is(c.err, context.DeadlineExceeded), errors.Is(c.err, backend.ErrClosed):
		default:
			r.t.Errorf("%s: %s has %v", key, c.n.name, c.err)
		}
	}
	if asked && len(doers) == 0 || !r.faults && len(doers) > 1 {
		r.t.Errorf("%s was done by %v", key, doers)
	}
	by, lost := map[string]bool{}, r.lost(key)
	for _, n := range r.nodes {
		if len(doers) == 0 {
			break
		}
		result, err := n.group.Do(r.t.Context(), key, n.noted(key, 0))
		r.pass(moment)
		if by[result.Instance] = true; err != nil {
			r.t.Errorf("%s: afterwards %s has %v", key, n.name, err)
		}
	}
	if again := r.doers(key); len(again) != len(doers) && !lost || len(by) > 1 {
		r.t.Errorf("%s: it was done by %v, and the nodes know %d results; it was done again: %v", key, doers, len(by), again)
	}
}
