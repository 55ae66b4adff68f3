package conformance

import (
	"fmt"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

var faultChecks = []*check{
	{name: "fault/server-restart", level: fault, rules: []int{12, 2}, needs: ownServer, body: faultServerRestart,
		holds: "a restart of the server changes no view, and missed updates are repaired"},
	{name: "fault/server-emptied", level: fault, rules: []int{12, 2}, needs: ownServer, body: faultServerEmptied,
		holds: "a restart of the server without its data changes no view, and missed updates are repaired"},
	{name: "fault/short-outage", level: fault, rules: []int{11}, needs: links, waits: true, body: faultShortOutage,
		holds: "an outage below grace changes nothing"},
	{name: "fault/long-outage", level: fault, rules: []int{16, 12}, needs: links, waits: true, body: faultLongOutage,
		holds: "an outage longer than grace ends as each policy says, and the view says so"},
	{name: "fault/half-open", level: fault, rules: []int{21}, body: faultHalfOpen,
		holds: "a link that swallows bytes is found, reported and repaired"},
	{name: "fault/partition-heal", level: fault, rules: []int{12, 2}, needs: links, waits: true, body: faultPartitionHeal,
		holds: "after a partition in which both sides wrote there is one view, and each state is the union"},
	{name: "fault/islands", level: fault, rules: []int{12}, body: faultIslands,
		holds: "nodes that all restart at once at new addresses form one cluster"},
}

// trio opens three nodes with a set each and one entry everywhere.
func (e *env) trio(edits ...func(*backend.Config)) ([]*node, []*set) {
	e.Helper()
	nodes := make([]*node, 3)
	for i, name := range []string{"a", "b", "c"} {
		nodes[i] = e.open(name, edits...)
	}
	e.agreed(nodes...)
	sets := addSets("set", nodes)
	sets[0].write([]byte("before"))
	e.eventually(e.limit(joiner), "the first entry is everywhere", func() error { return holdAll(1, sets...) })
	return nodes, sets
}

// detached waits until each of nodes says that it is detached, with a reason,
// and since a time after then. Stopping a server may take as long as nodes take
// to notice.
func (e *env) detached(then time.Time, nodes ...*node) {
	e.Helper()
	e.within(detect, "the nodes are detached, and say why", func() error {
		for _, n := range nodes {
			v := n.View()
			switch {
			case v.Status != backend.Detached:
				return fmt.Errorf("%s is %v", n, v.Status)
			case v.Err == nil:
				return fmt.Errorf("%s does not say why it is detached", n)
			case v.Since.Before(then):
				return fmt.Errorf("%s is detached since %v, but was attached at %v", n, v.Since, then)
			}
		}
		return nil
	})
}

func faultServerRestart(e *env) { e.serverReturns(func() {}) }

func faultServerEmptied(e *env) { e.serverReturns(func() { e.server.Empty(e) }) }

// serverReturns stops the server for less than grace, makes each node write
// meanwhile, and expects the same view and all entries once the server is back.
func (e *env) serverReturns(meanwhile func()) {
	e.Helper()
	roomy := func(c *backend.Config) { c.Timing.Grace = time.Minute; rarely(c) }
	nodes, sets := e.trio(roomy)
	then := time.Now()
	e.server.Stop(e)
	same := func() error { return sameMembers(nodes) }
	for _, s := range sets {
		s.write([]byte("while the server is away"))
	}
	e.detached(then, nodes...)
	meanwhile()
	if err := same(); err != nil {
		e.Errorf("with the server away: %v", err)
	}
	e.server.Start(e)
	e.within(restart, "all are attached, and the gap is repaired", func() error {
		if err := same(); err != nil {
			return err
		}
		if err := agree(nodes...); err != nil {
			return err
		}
		return holdAll(4, sets...)
	})
	for _, s := range sets {
		s.write([]byte("after"))
	}
	e.eventually(e.limit(joiner), "updates flow again", func() error { return holdAll(7, sets...) })
	e.always(e.h.Timing.Detect, "all keep the same view afterwards", same)
}

// sameMembers reports whether each of nodes lists all of them, attached or not.
func sameMembers(nodes []*node) error {
	for _, n := range nodes {
		if err := lists(n.View(), n, nodes...); err != nil {
			return err
		}
	}
	return nil
}

func faultShortOutage(e *env) {
	nodes, sets := e.trio()
	same := func() error { return sameMembers(nodes) }
	for i := range 3 {
		end := e.blink()
		e.always(e.h.Timing.Channel.Grace/3, fmt.Sprintf("all keep the same view during outage %d", i), same)
		end()
		// The views must not change while the nodes attach one after the other.
		e.always(e.h.Timing.Channel.Grace/2, fmt.Sprintf("all keep the same view after outage %d", i), same)
		e.eventually(e.limit(restart), "all are attached", func() error { return agree(nodes...) })
	}
	sets[2].write([]byte("after"))
	e.eventually(e.limit(restart), "updates flow", func() error { return holdAll(2, sets...) })
}

func faultLongOutage(e *env) {
	hold := func(c *backend.Config) { c.OnIsolation = backend.HoldView }
	nodes := []*node{e.open("a"), e.open("b"), e.open("c", hold)}
	e.agreed(nodes...)
	sets := addSets("set", nodes)
	then := time.Now()
	end := e.outage()
	e.detached(then, nodes...)
	e.eventually(e.limit(detect)+e.h.Timing.Channel.Grace, "the policy decides", func() error {
		for _, n := range nodes[:2] {
			if err := lists(n.View(), n, n); err != nil {
				return err
			}
		}
		return nil
	})
	e.always(e.h.Timing.Channel.Grace, "each node lists what its policy says, and is detached", func() error {
		for i, n := range nodes {
			v, want := n.View(), nodes
			if i < 2 {
				want = nodes[i : i+1]
			}
			if err := lists(v, n, want...); err != nil {
				return err
			}
			if v.Status != backend.Detached {
				return fmt.Errorf("%s is %v", n, v.Status)
			}
		}
		return nil
	})
	for _, s := range sets {
		s.write([]byte("apart"))
	}
	end()
	e.within(restart, "there is one cluster again, with what was written apart", func() error {
		if err := agree(nodes...); err != nil {
			return err
		}
		return holdAll(3, sets...)
	})
}

func faultHalfOpen(e *env) {
	nodes, sets := e.trio(rarely)
	b, others := nodes[1], []*node{nodes[0], nodes[2]}
	start := time.Now()
	b.deafen(true)
	sets[0].write([]byte("unheard by b"))
	sets[1].write([]byte("heard from nobody"))
	e.detached(start, b)
	e.withinSince(start, detect, "the others drop the deaf node", func() error { return agree(others...) })
	for _, n := range others {
		if n.View().Status != backend.Attached {
			e.Errorf("%s is %v, though only b is deaf", n, n.View().Status)
		}
	}
	b.deafen(false)
	e.within(restart, "b is back, and what it missed is repaired", func() error {
		if err := agree(nodes...); err != nil {
			return err
		}
		return holdAll(3, sets...)
	})
}

func faultPartitionHeal(e *env) {
	nodes, sets := e.trio()
	nodes[2].isolate(true)
	e.within(detect, "a and b drop c", func() error { return agree(nodes[:2]...) })
	for _, s := range sets {
		s.write([]byte("during the partition"))
	}
	e.eventually(e.limit(joiner), "a and b go on", func() error { return holdAll(3, sets[:2]...) })
	e.always(e.h.Timing.Channel.Grace+e.h.Timing.Detect, "nothing crosses the partition", func() error {
		if n := sets[2].len(); n != 2 {
			return fmt.Errorf("c has %d entries, want 2", n)
		}
		return agree(nodes[:2]...)
	})
	nodes[2].isolate(false)
	e.within(restart, "all have one view and the union of the states", func() error {
		if err := agree(nodes...); err != nil {
			return err
		}
		return holdAll(4, sets...)
	})
}

func faultIslands(e *env) {
	nodes, _ := e.trio()
	for _, n := range nodes {
		n.kill()
	}
	back := make([]*node, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { back[i] = e.open(n.Name) })
	}
	wg.Wait()
	for _, n := range back {
		if n == nil {
			return // open has reported why
		}
	}
	e.within(detect, "the three are one cluster", func() error { return agree(back...) })
	sets := addSets("set", back)
	for _, s := range sets {
		s.write([]byte("after"))
	}
	e.eventually(e.limit(joiner), "updates flow", func() error { return holdAll(3, sets...) })
}
