package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

var viewsChecks = []*check{
	{name: "views/one-way-link", level: basic, rules: []int{9}, waits: true, body: viewsOneWayLink,
		holds: "when one node does not hear another one, all who can know of it name both, and take it back when it is over"},
	{name: "views/standstill", level: basic, rules: []int{11}, waits: true, body: viewsStandstill,
		holds: "a node that stands still for less than the detection time keeps its seat, and its view"},
	{name: "views/contradiction", level: fault, rules: []int{11}, waits: true, body: viewsContradiction,
		holds: "the frames of a dead node, which arrive again, bring it back in nobody's view"},
}

// intervals are that many heartbeats.
func (e *env) intervals(n int) time.Duration {
	return time.Duration(n) * e.h.Timing.Channel.Heartbeat
}

// viewsOneWayLink keeps everything of a from b. Where the transport knows its
// members, that includes its own list, and views are compared by what follows an
// update.
func viewsOneWayLink(e *env) {
	nodes := e.openRarely("a", "b", "c")
	sets := addSets("set", nodes)
	e.ready(nodes...)
	a, b := nodes[0], nodes[1]
	e.speaking(sets)
	b.tap.setIgnore(a.self.Instance)
	most := e.limit(detect) + e.intervals(30) + e.patience()
	e.eventually(most, "all name whom b does not hear", func() error {
		for i, n := range nodes {
			about := "b"
			if i == 1 {
				about = "a"
			}
			v := n.View()
			if !slices.ContainsFunc(v.Disputed, func(text string) bool {
				return slices.Contains(strings.Fields(strings.ReplaceAll(text, ",", " ")), about)
			}) {
				return fmt.Errorf("%s says of the views %q, want %s to be named", n, v.Disputed, about)
			}
			if n.metric(metricDisagreements) == 0 {
				return fmt.Errorf("%s names %q, and %s is 0", n, v.Disputed, metricDisagreements)
			}
		}
		return nil
	})
	if text := a.log.Tail(1000); !strings.Contains(text, "b does not hear this node") {
		e.Errorf("the log of a does not say that b does not hear it")
	}
	b.tap.setIgnore("")
	e.eventually(most, "all agree, and say so", func() error {
		for _, n := range nodes {
			if d := n.View().Disputed; len(d) > 0 {
				return fmt.Errorf("%s still says %q", n, d)
			}
		}
		return agree(nodes...)
	})
}

// speaking has a node say something now and then, until the check is over.
func (e *env) speaking(sets []*set) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(e.scaled(400 * time.Millisecond))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				sets[i%len(sets)].write([]byte("still here"))
			}
		}
	}()
	e.Cleanup(func() {
		cancel()
		<-done
	})
}

func viewsStandstill(e *env) {
	calm := func(c *backend.Config) {
		c.Timing.Heartbeat = e.scaled(500 * time.Millisecond)
		c.Timing.Grace = max(c.Timing.Grace, c.Timing.Heartbeat)
	}
	nodes := []*node{e.open("a", calm), e.open("b", calm), e.open("c", calm)}
	e.eventually(e.patience(), "all agree on the view", func() error { return agree(nodes...) })
	sets := addSets("set", nodes)
	done := make(chan struct{})
	go func() {
		defer close(done)
		resume := nodes[1].tap.freeze()
		defer resume()
		sets[0].write([]byte("while b stands still"))
		<-time.After(time.Second) // however slow the machine: a transport may have a detection of its own
	}()
	e.unchanged(5*nodes[1].config.Timing.Heartbeat, nodes...)
	<-done
	e.eventually(e.limit(joiner), "b has what was said meanwhile", func() error { return holdAll(1, sets...) })
}

func viewsContradiction(e *env) {
	nodes := e.openAll("a", "b", "c")
	sets := addSets("set", nodes)
	sets[1].write([]byte("of b"))
	e.eventually(e.limit(joiner), "b's entry is everywhere", func() error { return holdAll(1, sets...) })
	e.always(e.intervals(2), "all list b, whose heartbeats they hear", func() error { return agree(nodes...) })
	frames := nodes[1].tap.recent()
	sets[1].write([]byte("after them")) // so that the others have heard them all before b dies
	e.eventually(e.limit(joiner), "b's next entry is everywhere", func() error { return holdAll(2, sets...) })
	var last []byte
	for _, frame := range frames {
		var f wire.Frame
		if wire.Decode(frame, &f) == nil && f.Kind == wire.Heartbeat {
			last = frame
		}
	}
	if last == nil {
		e.Fatal("b has not said that it lives")
	}
	nodes[1].kill()
	others := []*node{nodes[0], nodes[2]}
	e.within(detect, "the others drop b", func() error { return agree(others...) })
	again := func(frames ...[]byte) {
		for _, frame := range frames {
			for _, n := range others {
				n.tap.inject(frame)
			}
		}
	}
	again(frames...) // as a broker hands over what it holds
	e.always(e.limit(detect), "b stays away, though its last heartbeat arrives again and again", func() error {
		again(last)
		return agree(others...)
	})
}
