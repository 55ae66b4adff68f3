package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

var membersChecks = []*check{
	{name: "members/self-at-once", level: basic, rules: []int{8}, body: membersSelfAtOnce,
		holds: "a node lists itself, once, as soon as Open returns"},
	{name: "members/join", level: basic, rules: []int{9}, body: membersJoin,
		holds: "three nodes list the same three, sorted"},
	{name: "members/leave-is-prompt", level: basic, rules: []int{10}, body: membersLeaveIsPrompt,
		holds: "a closed node is dropped within a second, and counted as left"},
	{name: "members/crash-is-detected", level: fault, rules: []int{10, 13}, body: membersCrashIsDetected,
		holds: "a killed node is dropped within the detection time, and counted as failed"},
	{name: "members/no-flap", level: basic, rules: []int{11}, waits: true, body: membersNoFlap,
		holds: "three idle nodes see no change"},
	{name: "members/rejoin-after-leave", level: basic, rules: []int{9}, body: membersRejoinAfterLeave,
		holds: "a name that left can come back at another address"},
	{name: "members/rejoin-after-crash", level: fault, rules: []int{9}, body: membersRejoinAfterCrash,
		holds: "a name that crashed can come back at another address before its dead twin is gone"},
	{name: "members/same-name-twice", level: basic, rules: []int{9}, body: membersSameNameTwice,
		holds: "two nodes of one name are two members, and both are told of the conflict"},
	{name: "members/snapshot-is-a-copy", level: basic, rules: []int{15}, body: membersSnapshotIsACopy,
		holds: "overwriting a returned list changes nothing"},
	{name: "members/events-match", level: basic, rules: []int{9}, body: membersEventsMatch,
		holds: "the last view of Watch is what View says"},
	{name: "members/slow-merge-keeps-seat", level: basic, rules: []int{11}, waits: true, body: membersSlowMergeKeepsSeat,
		holds: "a node whose Merge hangs stays a member"},
}

func membersSelfAtOnce(e *env) {
	for _, name := range []string{"a", "b", "a-b.c_d:e"} {
		meta := map[string]string{"zone": name}
		n := e.open(name, func(c *backend.Config) { c.Meta = meta })
		v := n.View()
		if n.self.Name != name || n.self.Instance == "" || n.self.Meta["zone"] != name {
			e.Errorf("right after Open %s lists itself as %+v in %s", n, n.self, listing(v.Members))
		}
		if err := sound(v, n); err != nil {
			e.Errorf("right after Open: %v", err)
		}
	}
}

func membersJoin(e *env) {
	nodes := []*node{
		e.open("c", func(c *backend.Config) { c.Meta = map[string]string{"zone": "north"} }),
		e.open("a"), e.open("b"),
	}
	e.agreed(nodes...)
	e.eventually(e.limit(converge), "the others know c's meta data", func() error {
		for _, n := range nodes {
			if m := n.Members()[2]; m.Meta["zone"] != "north" {
				return fmt.Errorf("%s lists c with the meta data %v", n, m.Meta)
			}
		}
		return nil
	})
}

// stayAway is longer than a node's word that it leaves counts against a driver that
// goes on to list it.
const stayAway = 4 * time.Second

func membersLeaveIsPrompt(e *env) {
	nodes := e.openAll("a", "b", "c")
	left, failed := departures(nodes[0])
	start := time.Now()
	nodes[1].close()
	rest := []*node{nodes[0], nodes[2]}
	e.withinSince(start, leave, "the others drop b", func() error { return agree(rest...) })
	e.counted(nodes[0], left+1, failed)
	e.always(stayAway, "b stays away", func() error { return agree(rest...) })
	e.counted(nodes[0], left+1, failed)
	if v := nodes[1].View(); v.Status != backend.Closed {
		e.Errorf("after Close b has the status %v", v.Status)
	}
}

func membersCrashIsDetected(e *env) {
	nodes := e.openAll("a", "b", "c")
	left, failed := departures(nodes[0])
	nodes[1].kill()
	e.within(detect, "the others drop b", func() error { return agree(nodes[0], nodes[2]) })
	e.counted(nodes[0], left, failed+1)
}

// departures returns how many members n has counted as left and as failed.
func departures(n *node) (left, failed float64) {
	return n.metric(metricLeft), n.metric(metricFailed)
}

// counted waits until n has counted these numbers of departures.
func (e *env) counted(n *node, left, failed float64) {
	e.Helper()
	e.eventually(e.limit(leave), "the departure is counted for what it is", func() error {
		if l, f := departures(n); l != left || f != failed {
			return fmt.Errorf("%s has counted %v members as left and %v as failed, want %v and %v", n, l, f, left, failed)
		}
		return nil
	})
}

func membersNoFlap(e *env) {
	nodes := e.openAll("a", "b", "c")
	words := make([]int, len(nodes))
	for i, n := range nodes {
		words[i] = n.tap.words()
	}
	e.unchanged(3*e.h.Timing.Detect, nodes...)
	for i, n := range nodes {
		if more := n.tap.words() - words[i]; more > 0 {
			e.Errorf("%s: the driver has said %d times something of its link, on a server that did nothing: each Link(nil) means that frames were missed, and asks for the states", n, more)
		}
	}
}

// unchanged checks for as long as d, by the events and by the views, that
// nothing about the members that nodes list changes, and that they stay attached.
func (e *env) unchanged(d time.Duration, nodes ...*node) {
	e.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	wants := make([][]backend.Member, len(nodes))
	same := func(i int, v backend.View) error {
		if !slices.EqualFunc(v.Members, wants[i], func(a, b backend.Member) bool { return compareMembers(a, b) == 0 }) {
			return fmt.Errorf("%s lists %s, before it was %s", nodes[i], listing(v.Members), listing(wants[i]))
		}
		if v.Status != backend.Attached {
			return fmt.Errorf("%s is %v: %v", nodes[i], v.Status, v.Err)
		}
		return nil
	}
	var wg sync.WaitGroup
	for i, n := range nodes {
		wants[i] = n.Members()
		wg.Go(func() {
			for v := range n.Watch(ctx) {
				if err := same(i, v); err != nil {
					e.Error(err)
				}
			}
		})
	}
	defer wg.Wait()
	e.always(d, "all keep the same view", func() error {
		for i, n := range nodes {
			if err := same(i, n.View()); err != nil {
				return err
			}
		}
		return nil
	})
}

func membersRejoinAfterLeave(e *env) {
	nodes := e.openAll("a", "b", "c")
	old := nodes[1]
	for range 3 {
		old.close()
		back := e.open("b")
		if back.self.Instance == old.self.Instance {
			e.Errorf("b has the instance %s again", old.self.Instance)
		}
		e.agreed(nodes[0], back, nodes[2])
		old = back
	}
	// A node that opens another driver after one has given up is the same member.
	opens := old.tap.opened()
	old.tap.giveUp()
	e.within(restart, "a node whose driver gave up is back with another", func() error {
		if old.tap.opened() == opens {
			return fmt.Errorf("%s has opened no other driver", old)
		}
		return agree(nodes[0], old, nodes[2])
	})
}

func membersRejoinAfterCrash(e *env) {
	nodes := e.openAll("a", "b", "c")
	nodes[1].kill()
	crashed := time.Now()
	back := e.open("b")
	e.within(converge, "the others list the new b", func() error {
		for _, n := range []*node{nodes[0], nodes[2]} {
			if !slices.ContainsFunc(n.Members(), func(m backend.Member) bool { return compareMembers(m, back.self) == 0 }) {
				return fmt.Errorf("%s lists %s", n, listing(n.Members()))
			}
		}
		return nil
	})
	e.withinSince(crashed, detect, "the dead b is gone", func() error { return agree(nodes[0], back, nodes[2]) })
}

func membersSameNameTwice(e *env) {
	nodes := []*node{e.open("a"), e.open("a"), e.open("b")}
	e.agreed(nodes...)
	e.within(detect, "both a, and they alone, are told", func() error {
		for i, n := range nodes {
			if conflict := errors.Is(n.View().Err, backend.ErrNameConflict); conflict != (i < 2) {
				return fmt.Errorf("%s has the error %v", n, n.View().Err)
			}
		}
		return nil
	})
	nodes[0].close()
	e.within(leave, "the conflict is over", func() error {
		if err := nodes[1].View().Err; err != nil {
			return fmt.Errorf("%s still has the error %v", nodes[1], err)
		}
		return agree(nodes[1:]...)
	})
}

func membersSnapshotIsACopy(e *env) {
	nodes := []*node{
		e.open("a", func(c *backend.Config) { c.Meta = map[string]string{"zone": "north"} }),
		e.open("b", func(c *backend.Config) { c.Meta = map[string]string{"zone": "south"} }),
	}
	e.agreed(nodes...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	scribble := func(members []backend.Member) {
		for i := range members {
			clear(members[i].Meta)
			members[i] = backend.Member{Name: "scribble"}
		}
	}
	var wg sync.WaitGroup
	callers := 1
	if raceScale > 1 { // side by side, for the race detector; without it, a map that is shared ends the process
		callers = 4
	}
	for range callers {
		wg.Go(func() {
			scribble(nodes[0].View().Members)
			scribble(nodes[0].Members())
			for v := range nodes[0].Watch(ctx) {
				scribble(v.Members)
				break
			}
		})
	}
	wg.Wait()
	if err := agree(nodes...); err != nil {
		e.Errorf("after a caller wrote to what it was given: %v", err)
	}
	for i, zone := range []string{"north", "south"} {
		if m := nodes[0].Members()[i]; m.Meta["zone"] != zone {
			e.Errorf("after a caller wrote to what it was given: %s has the meta data %v", m.Name, m.Meta)
		}
	}
}

func membersEventsMatch(e *env) {
	a := e.open("a")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := watch(ctx, a)
	nodes := []*node{a}
	for i := range 6 { // churn: two come, one goes
		nodes = append(nodes, e.open(fmt.Sprintf("n%d", i)))
		if i%2 == 1 {
			nodes[1].close()
			nodes = slices.Delete(nodes, 1, 2)
		}
	}
	e.agreed(nodes...)
	e.eventually(e.limit(converge), "the last event equals the view", func() error {
		last, view := w.last(), a.View()
		if last.Epoch != view.Epoch || !slices.EqualFunc(last.Members, view.Members, func(a, b backend.Member) bool { return compareMembers(a, b) == 0 }) {
			return fmt.Errorf("the last event has epoch %d and %s, the view %d and %s", last.Epoch, listing(last.Members), view.Epoch, listing(view.Members))
		}
		return w.err()
	})
	cancel()
	e.done(e.scaled(time.Second), "Watch ends with its context", w.ended)

	w = watch(context.Background(), a)
	a.close()
	e.done(e.scaled(time.Second), "Watch ends with the channel", w.ended)
	if v := w.last(); v.Status != backend.Closed {
		e.Errorf("the last view before the end has the status %v, want closed", v.Status)
	}
}

// watcher follows the views of a node.
type watcher struct {
	ended chan struct{}

	mu    sync.Mutex
	view  backend.View
	count int
	fault error
}

func watch(ctx context.Context, n *node) *watcher {
	w := &watcher{ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for v := range n.Watch(ctx) {
			w.take(v, n)
		}
	}()
	return w
}

func (w *watcher) take(v backend.View, n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count > 0 && v.Epoch <= w.view.Epoch {
		w.fault = fmt.Errorf("epoch %d came after %d", v.Epoch, w.view.Epoch)
	}
	if err := sound(v, n); err != nil {
		w.fault = err
	}
	w.view = v
	w.count++
}

func (w *watcher) last() backend.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view
}

func (w *watcher) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault
}

func membersSlowMergeKeepsSeat(e *env) {
	nodes := e.openAll("a", "b", "c")
	slow, quick := addSets("slow", nodes), addSets("quick", nodes)
	release := slow[1].holdMerge()
	defer release()
	slow[0].write([]byte("stuck"))
	e.eventually(e.limit(joiner), "b is stuck in Merge", func() error {
		if slow[1].held.Load() == 0 {
			return errors.New("Merge was not called")
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	quick[0].write([]byte("quick"))
	e.eventually(e.limit(joiner), "the other states merge meanwhile", func() error { return holdAll(1, quick...) })
	go func() { // keeps the slow state's queue busy
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				slow[2].write([]byte("more"))
			case <-ctx.Done():
				return
			}
		}
	}()
	e.unchanged(3*e.h.Timing.Detect, nodes...)
	cancel()
	release()
	e.eventually(e.patience(), "what was stuck is merged", func() error { return holdAll(1+slow[2].written(), slow...) })
}
