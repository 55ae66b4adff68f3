package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

var readyChecks = []*check{
	{name: "ready/waits-for-sync", level: basic, rules: []int{19}, waits: true, body: readyWaitsForSync,
		holds: "WaitReady returns after the first exchange, at the limit, or at once when alone"},
	{name: "ready/names-unready", level: basic, rules: []int{19}, waits: true, body: readyNamesUnready,
		holds: "at the limit the view, the log and a metric name the state that is not ready, and take it back when it is"},
	{name: "ready/new-state", level: basic, rules: []int{19}, waits: true, body: readyNewState,
		holds: "a state that is new with a joiner, as in a rolling upgrade, does not wait for the limit"},
}

func readyWaitsForSync(e *env) {
	alone := e.open("a", rarely)
	set := alone.addSet("set")
	const entries = 50
	for range entries {
		set.put(make([]byte, 10_000))
	}
	e.waitReady(alone, e.limit(converge), backend.Alone)

	second := e.open("b", rarely)
	copied := second.addSet("set")
	ctx, cancel := context.WithTimeout(context.Background(), e.scaled(10*time.Second))
	defer cancel()
	if err := second.WaitReady(ctx); err != nil {
		e.Fatalf("WaitReady: %v", err)
	}
	if n := copied.len(); n != entries {
		e.Errorf("WaitReady returned when the joiner had %d entries of %d", n, entries)
	}
	e.waitReady(second, 0, backend.Synced)

	third, err := e.prepare("c", func(c *backend.Config) {
		rarely(c)
		c.Timing.Settle = e.scaled(500 * time.Millisecond)
	})
	if err != nil {
		e.Fatal(err)
	}
	third.tap.setDeaf(true)
	if err := third.start(context.Background()); err != nil {
		e.Fatalf("open %s: %v", third, err)
	}
	done, cancelDone := context.WithCancel(context.Background())
	cancelDone()
	start := time.Now()
	if err := third.WaitReady(done); !errors.Is(err, context.Canceled) {
		e.Errorf("WaitReady with a done context while settling: %v, want context.Canceled", err)
	}
	if took := e.since(start); took > e.scaled(atOnce) {
		e.Errorf("WaitReady with a done context took %v", took)
	}
	if r := third.View().Ready; r != backend.Settling {
		e.Errorf("a node that hears nobody is %v at once, want settling", r)
	}
	e.waitReady(third, e.scaled(2*time.Second), backend.TimedOut, backend.Alone)
	third.close()
	if err := third.WaitReady(context.Background()); err != nil && !errors.Is(err, backend.ErrClosed) {
		e.Errorf("WaitReady after Close: %v", err)
	}
}

// waitReady checks that WaitReady returns within d, and that n is then ready in
// one of the given ways.
func (e *env) waitReady(n *node, d time.Duration, want ...backend.Readiness) {
	e.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d+e.scaled(atOnce))
	defer cancel()
	if err := n.WaitReady(ctx); err != nil {
		e.Fatalf("%s: WaitReady: %v; want it ready, %v", n, err, want)
	}
	if r := n.View().Ready; !slices.Contains(want, r) {
		e.Errorf("%s is ready by %v, want %v", n, r, want)
	}
}

// readyNamesUnready has one of two states hang when it merges what the others
// have.
func readyNamesUnready(e *env) {
	nodes := e.openRarely("a", "b")
	sound, stuck := addSets("sound", nodes), addSets("stuck", nodes)
	e.ready(nodes...)
	sound[0].write([]byte("one"))
	stuck[0].write([]byte("two"))
	e.eventually(e.limit(joiner), "the entries are on both nodes", func() error { return errors.Join(holdAll(1, sound...), holdAll(1, stuck...)) })

	c := e.open("c", rarely, func(c *backend.Config) { c.Timing.Settle = e.scaled(time.Second) })
	hung := c.newSet()
	release := hung.holdMerge()
	defer release()
	hung.join("stuck", hung)
	sound = append(sound, c.addSet("sound"))
	e.waitReady(c, e.limit(joiner), backend.TimedOut, backend.Synced) // synced where it heard of the others before its states were added
	named := func(want ...string) error {
		if v := c.View(); !slices.Equal(v.Unready, want) {
			return fmt.Errorf("%s names %q as not ready, want %q", c, v.Unready, want)
		}
		if n := c.metric(metricUnready); n != float64(len(want)) {
			return fmt.Errorf("%s is %v, want %d", metricUnready, n, len(want))
		}
		return nil
	}
	if err := errors.Join(named("stuck"), holdAll(1, sound...)); err != nil {
		e.Error(err)
	}
	e.eventually(e.scaled(atOnce), "the log names the state", func() error {
		if !strings.Contains(c.log.Tail(1000), "states=stuck") {
			return errors.New("it does not")
		}
		return nil
	})
	release()
	e.eventually(e.patience(), "it is ready, and named no more", func() error { return errors.Join(named(), holdAll(1, append(stuck, hung)...)) })
}

func readyNewState(e *env) {
	late := func(c *backend.Config) { rarely(c); c.Timing.Settle = time.Hour }
	nodes := []*node{e.open("a", late), e.open("b", late)}
	e.agreed(nodes...)
	addSets("old", nodes)
	e.ready(nodes...)

	c := e.open("c", late)
	c.addSet("old")
	first := c.addSet("new")
	e.waitReady(c, e.limit(joiner), backend.Synced)
	first.put([]byte("of c, not broadcast"))

	d := e.open("d", late)
	d.addSet("old")
	second := d.addSet("new")
	e.waitReady(d, e.limit(joiner), backend.Synced)
	if err := holdAll(1, first, second); err != nil {
		e.Errorf("d is ready: %v", err)
	}
}
