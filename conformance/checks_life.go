package conformance

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
)

var lifeChecks = []*check{
	{name: "life/close-any-time", level: basic, rules: []int{20}, body: lifeCloseAnyTime,
		holds: "Close may be called twice, from ten goroutines or during a join; all calls return one result in time"},
	{name: "life/ends-with-context", level: fault, rules: []int{18, 20}, needs: links, body: lifeEndsWithContext,
		holds: "Open and Close end with their context while the server hangs or is away"},
	{name: "life/leaves-nothing", level: basic, rules: []int{20}, needs: residue, alone: true, body: lifeLeavesNothing,
		holds: "twenty nodes that were opened and closed leave no goroutine, descriptor or key"},
	{name: "life/add-remove-state", level: basic, rules: []int{20, 22}, alone: true, body: lifeAddRemoveState,
		holds: "a thousand states come and go without growth"},
}

func lifeCloseAnyTime(e *env) {
	nodes := e.openAll("a", "b")
	sets := addSets("set", nodes)

	// What is queued goes out before the goodbye.
	for range 100 {
		sets[0].write([]byte("just before the end"))
	}
	e.closeTogether(nodes[0], 10, e.scaled(closing))
	e.eventually(e.limit(joiner), "what was queued arrives", func() error {
		if n := sets[1].len(); n != 100 {
			return fmt.Errorf("%d of 100 entries", n)
		}
		return nil
	})
	e.closed(nodes[0], sets[0])

	// During a join, and during the first exchange.
	for range 5 {
		joining := e.open("c")
		set := joining.addSet("set")
		e.closeTogether(joining, 3, e.scaled(closing))
		e.closed(joining, set)
	}

	// While Merge and Broadcast are busy.
	busy := e.open("d")
	busySet := busy.addSet("set")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range []*set{busySet, sets[1]} {
		wg.Go(func() {
			tick := time.NewTicker(200 * time.Microsecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				s.write([]byte("busy"))
				<-tick.C
			}
		})
	}
	e.closeTogether(busy, 3, e.scaled(closing))
	cancel()
	wg.Wait()
	e.closed(busy, busySet)

	// With a transport that no longer accepts anything, as after the loss of a
	// server.
	stuck := e.open("e")
	set := stuck.addSet("set")
	release := stuck.stall()
	defer release()
	set.write([]byte("stuck"))
	const patience = 500 * time.Millisecond
	e.closeTogether(stuck, 3, patience)
	e.closed(stuck, set)
	release()

	// With a context that is already done.
	hasty := e.open("f")
	set = hasty.addSet("set")
	e.closeTogether(hasty, 3, 0)
	e.closed(hasty, set)

	// The wiretap notes late calls of the driver while this waits.
	e.always(e.scaled(300*time.Millisecond), "no driver calls after Close", func() error { return nil })
}

func lifeEndsWithContext(e *env) {
	nodes := e.openAll("a", "b")
	const patience = 300 * time.Millisecond
	end := func(what string, call func(context.Context) error) {
		e.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			e.Logf("%s: %v", what, call(ctx))
		}()
		e.done(patience+e.scaled(atOnce), what+" ends with its context", ended)
	}
	for _, policy := range []backend.StartPolicy{backend.Degrade, backend.Fail} {
		c, err := e.prepare("c", func(c *backend.Config) { c.OnStartFailure = policy })
		if err != nil {
			e.Fatal(err)
		}
		back := e.hang(c)
		end(fmt.Sprintf("Open, with on_start_failure: %s", policy), func(ctx context.Context) error {
			if err := c.start(ctx); err != nil {
				return err
			}
			return c.Close(ctx)
		})
		back()
	}
	e.eventually(e.limit(restart), "a and b go on", func() error { return agree(nodes...) })
	back := e.hang(nodes[1])
	defer back()
	nodes[1].gone.Store(true)
	end("Close", nodes[1].Close)
}

// hang takes from n whatever answers it, with no error where that can be.
func (e *env) hang(n *node) (back func()) {
	e.Helper()
	switch {
	case n.proxy != nil:
		n.proxy.Set(netfault.Swallow)
		return func() { n.proxy.Set(netfault.Pass) }
	case e.server != nil && e.h.Address == "":
		e.server.Stop(e)
		return sync.OnceFunc(func() { e.server.Start(e) })
	}
	n.isolate(true)
	return func() { n.isolate(false) }
}

// closeTogether closes n from many goroutines and then once more. All get the
// same result, within d and a little.
func (e *env) closeTogether(n *node, callers int, d time.Duration) {
	e.Helper()
	n.gone.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	start := time.Now()
	results := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { results[i] = n.Close(ctx) })
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wg.Wait()
	}()
	e.done(d+e.scaled(atOnce), "Close ends with its context", ended)
	again := n.Close(context.Background())
	for _, err := range results {
		if (err == nil) != (again == nil) || (err != nil && err.Error() != again.Error()) {
			e.Errorf("%s: Close returned %v, and then %v", n, err, again)
		}
	}
	if again != nil && !errors.Is(again, context.DeadlineExceeded) {
		e.Errorf("%s: Close: %v", n, again)
	}
	e.Logf("closed %s within %v of %v: %v", n, time.Since(start).Round(time.Millisecond), d, again)
}

// closed checks what a closed channel reports.
func (e *env) closed(n *node, s *set) {
	e.Helper()
	if err := s.channel.TryBroadcast([]byte("late")); !errors.Is(err, backend.ErrClosed) {
		e.Errorf("%s: TryBroadcast after Close: %v, want ErrClosed", n, err)
	}
	s.channel.Broadcast([]byte("late"))
	s.channel.Remove()
	if _, err := n.AddState("late", s, nil); !errors.Is(err, backend.ErrClosed) {
		e.Errorf("%s: AddState after Close: %v, want ErrClosed", n, err)
	}
	if v := n.View(); v.Status != backend.Closed || len(v.Members) == 0 {
		e.Errorf("%s: after Close the view is %v with %d members", n, v.Status, len(v.Members))
	}
	for v := range n.Watch(context.Background()) {
		if v.Status != backend.Closed {
			e.Errorf("%s: Watch after Close yields the status %v", n, v.Status)
		}
	}
}

func lifeLeavesNothing(e *env) {
	first := e.open("warm-up") // what a library starts once and keeps is no leak
	first.addSet("set")
	first.close()
	before := measure()
	output, restore := captureOutput(e)
	defer restore()
	const rounds, size = 5, 4
	for i := range rounds {
		nodes := make([]*node, size)
		for j := range size {
			nodes[j] = e.open(fmt.Sprintf("n%d-%d", i, j))
		}
		sets := addSets("set", nodes)
		sets[0].write([]byte("an entry"))
		e.agreed(nodes...)
		e.eventually(e.limit(joiner), "the entry is everywhere", func() error { return holdAll(1, sets...) })
		var closing sync.WaitGroup // a node that leaves others lingers for them
		for _, n := range nodes {
			closing.Go(n.close)
		}
		closing.Wait()
	}
	restore()
	e.leftNothing(before)
	if e.h.Residue != nil {
		e.eventually(e.patience(), "nothing is left on the server", func() error {
			if left := e.h.Residue(e, e.server, e.cluster); len(left) > 0 {
				return fmt.Errorf("%d things are left: %s", len(left), strings.Join(left[:min(len(left), 5)], ", "))
			}
			return nil
		})
	}
	e.silent(output())
}

// silent checks that nothing was written to stdout and stderr.
func (e *env) silent(text string) {
	e.Helper()
	if text != "" {
		e.Errorf("written to stdout or stderr, not to Config.Logger; has the library a logger to be set? %s", text)
	}
}

// usage is what a process holds.
type usage struct{ goroutines, descriptors int }

// goroutineError shows all goroutines when it is printed.
type goroutineError string

func (g goroutineError) Error() string { return string(g) + ":\n" + stack(true) }

func measure() usage { return usage{runtime.NumGoroutine(), descriptors()} }

// leftNothing waits until the process holds no more than before.
func (e *env) leftNothing(before usage) {
	e.Helper()
	e.closeProxies()
	e.eventually(e.patience(), "goroutines and descriptors are as before", func() error {
		now := measure()
		if now.goroutines > before.goroutines {
			return goroutineError(fmt.Sprintf("%d goroutines, before %d", now.goroutines, before.goroutines))
		}
		if now.descriptors > before.descriptors {
			return fmt.Errorf("%d descriptors, before %d", now.descriptors, before.descriptors)
		}
		return nil
	})
}

func lifeAddRemoveState(e *env) {
	nodes := e.openAll("a", "b")
	kept := addSets("kept", nodes)
	cycle := func(i int) {
		key := fmt.Sprintf("key-%d", i)
		sets := addSets(key, nodes)
		sets[0].write([]byte("an entry"))
		for _, s := range sets {
			s.channel.Remove()
			s.channel.Remove()
		}
		if err := sets[0].channel.TryBroadcast([]byte("late")); !errors.Is(err, backend.ErrClosed) {
			e.Fatalf("TryBroadcast after Remove: %v, want ErrClosed", err)
		}
	}
	for i := range 10 {
		cycle(i)
	}
	for _, s := range addSets("again", nodes) {
		s.channel.Remove()
	}
	before, beforeSeries := measure(), nodes[0].series()
	const cycles = 1000
	for i := range cycles {
		cycle(i)
	}
	e.eventually(e.patience(), "as before", func() error {
		if now := measure(); now.goroutines > before.goroutines+5 || now.descriptors > before.descriptors {
			return fmt.Errorf("%+v, before %d adds %+v", now, cycles, before)
		}
		for _, n := range nodes {
			if series := n.series(); series > beforeSeries+5 {
				return fmt.Errorf("%s has %d series, before %d adds %d", n, series, cycles, beforeSeries)
			}
		}
		return nil
	})
	kept[0].write([]byte("another"))
	kept[1].write([]byte("and one back"))
	e.eventually(e.limit(joiner), "the state that stayed works", func() error { return holdAll(2, kept...) })

	// Under its key nothing was said: what was may be on its way yet, and is then merged.
	again := addSets("again", nodes)
	again[0].write([]byte("again"))
	e.eventually(e.limit(joiner), "a key is free after Remove", func() error { return holdAll(1, again...) })
}

// series returns how many series n exports.
func (n *node) series() int {
	n.env.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		n.env.Errorf("%s: gather: %v", n, err)
	}
	count := 0
	for _, f := range families {
		count += len(f.GetMetric())
	}
	return count
}
