package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

var syncChecks = []*check{
	{name: "sync/late-joiner", level: basic, rules: []int{2}, body: syncLateJoiner,
		holds: "a joiner gets what was written before"},
	{name: "sync/late-state", level: basic, rules: []int{2}, body: syncLateState,
		holds: "a state that is added late gets what was written before"},
	{name: "sync/both-ways", level: basic, rules: []int{2}, body: syncBothWays,
		holds: "what only the joiner had reaches the others"},
	{name: "sync/anti-entropy", level: basic, rules: []int{2}, waits: true, body: syncAntiEntropy,
		holds: "states that differ without a broadcast become equal"},
	{name: "sync/gap", level: fault, rules: []int{2}, body: syncGap,
		holds: "lost frames are repaired at once, not at the next interval"},
	{name: "sync/lost", level: fault, rules: []int{2}, waits: true, body: syncLost,
		holds: "an update that died with its origin is counted as lost, and the search for it ends"},
	{name: "sync/large", level: basic, rules: []int{2, 11}, body: syncLarge,
		holds: "a state of 4 MiB reaches a joiner and disturbs no view"},
}

// In the checks of this file, except anti-entropy, the periodic exchange is an
// hour away: every exchange has another cause.

func syncLateJoiner(e *env) {
	nodes := e.openRarely("a", "b")
	sets := addSets("set", nodes)
	for range 10 {
		sets[0].write([]byte("before the join"))
	}
	e.eventually(e.limit(joiner), "the entries are on both nodes", func() error { return holdAll(10, sets...) })
	sets[0].put(make([]byte, 2<<20)) // with it the state is as large as the budget says
	sets = append(sets, e.open("c", rarely).addSet("set"))
	e.within(joiner, "the joiner has them", func() error {
		if n := sets[2].len(); n < 10 {
			return fmt.Errorf("it has %d entries of 10", n)
		}
		return sets[2].intact()
	})
	large := e.open("0", rarely) // any member may answer its exchange; a has all entries
	set := large.addSet("set")
	e.eventually(e.limit(joiner), "a joiner has an entry of 2 MiB that was never broadcast", func() error {
		return holdAll(11, set, sets[0])
	})
}

func syncLateState(e *env) {
	nodes := e.openRarely("a", "b")
	e.ready(nodes...)
	first := nodes[0].addSet("late")
	for range 10 {
		first.write([]byte("before b has the state"))
	}
	e.always(e.scaled(200*time.Millisecond), "the view is the same with a state that b lacks", func() error { return agree(nodes...) })
	second := nodes[1].addSet("late")
	e.within(joiner, "b has what came before its AddState", func() error { return holdAll(10, first, second) })
}

func syncBothWays(e *env) {
	nodes := e.openRarely("a", "b")
	sets := addSets("set", nodes)
	sets[0].write([]byte("of the cluster"))
	e.eventually(e.limit(joiner), "the cluster's entry is on both nodes", func() error { return holdAll(1, sets...) })
	joining := e.open("c", rarely)
	private := joining.newSet()
	private.put([]byte("of the joiner"))
	private.join("set", private)
	sets = append(sets, private)
	e.within(joiner, "all hold both", func() error { return holdAll(2, sets...) })
}

func syncAntiEntropy(e *env) {
	nodes := e.openAll("a", "b", "c")
	plain := addSets("plain", nodes)
	var digested []*set
	for _, n := range nodes {
		s := n.newSet()
		s.join("digested", digestedSet{s})
		digested = append(digested, s)
	}
	e.ready(nodes...)
	// The exchanges that AddState begins may still carry the entries of the first
	// round, but not those of later ones.
	for round := range 3 {
		for i := range nodes {
			plain[i].put([]byte("not broadcast"))
			digested[i].put([]byte("not broadcast"))
		}
		d := 2*e.h.Timing.Channel.Sync + e.limit(leave)
		e.eventually(d, fmt.Sprintf("all are equal within twice the interval, round %d", round), func() error {
			count := (round + 1) * len(nodes)
			return errors.Join(holdAll(count, plain...), holdAll(count, digested...))
		})
	}
}

func syncGap(e *env) {
	nodes := e.openRarely("a", "b", "c")
	sets := addSets("set", nodes)
	e.ready(nodes...)
	sets[0].write([]byte("first"))
	e.eventually(e.limit(joiner), "the first entry is everywhere", func() error { return holdAll(1, sets...) })

	const lost = 5
	var dropped atomic.Int32
	mark := []byte("lost on its way: 9c1e77b0")
	nodes[0].tap.setLose(func(frame []byte) bool {
		hit := bytes.Contains(frame, mark)
		if hit {
			dropped.Add(1)
		}
		return hit
	})
	for i := range lost {
		sets[0].write(append(slices.Clone(mark), byte(i)))
		e.eventually(e.limit(leave), "the frame is sent", func() error {
			if dropped.Load() <= int32(i) {
				return fmt.Errorf("%d of %d frames were lost", dropped.Load(), i+1)
			}
			return nil
		})
	}
	nodes[0].tap.setLose(nil)
	sets[0].write([]byte("after the gap"))
	e.within(joiner, "the gap is repaired at once", func() error { return holdAll(1+lost+1, sets...) })
}

func syncLost(e *env) {
	nodes := e.openRarely("a", "b", "c")
	sets := addSets("set", nodes)
	e.ready(nodes...)
	sets[0].write([]byte("first"))
	e.eventually(e.limit(joiner), "the first entry is everywhere", func() error { return holdAll(1, sets...) })

	others := nodes[1:]
	gaps := []float64{others[0].metric(metricGaps), others[1].metric(metricGaps)}
	mark := []byte("known to a alone: 5d0a31f2")
	nodes[0].tap.setLose(func(frame []byte) bool { return bytes.Contains(frame, mark) })
	sets[0].write(mark)
	e.eventually(e.limit(joiner), "the others know that they miss it", func() error {
		for i, n := range others {
			if n.metric(metricGaps) == gaps[i] {
				return fmt.Errorf("%s has found no gap", n)
			}
		}
		return nil
	})
	nodes[0].kill()
	e.eventually(e.limit(detect)+e.patience(), "it is counted as lost", func() error {
		for _, n := range others {
			if n.metric(metricLost) != 1 {
				return fmt.Errorf("%s counts %v updates as lost, want 1", n, n.metric(metricLost))
			}
		}
		return nil
	})
	e.eventually(e.limit(detect), "the others drop a", func() error { return agree(others...) })
	var pulls atomic.Int64
	for _, n := range others {
		n.tap.setSaw(func(frame []byte) {
			var f wire.Frame
			if wire.Decode(frame, &f) == nil && (f.Kind == wire.Pull || f.Kind == wire.Missing) {
				pulls.Add(1)
			}
		})
	}
	e.always(e.scaled(2*time.Second), "nobody asks for it any more", func() error {
		if n := pulls.Load(); n > 2 { // one round may have begun already
			return fmt.Errorf("%d times somebody asked", n)
		}
		return agree(others...)
	})
	sets[1].write([]byte("after it"))
	e.eventually(e.limit(joiner), "the others go on", func() error { return holdAll(2, sets[1:]...) })
}

func syncLarge(e *env) {
	nodes := e.openRarely("a", "b")
	sets := addSets("set", nodes)
	random := rand.NewChaCha8([32]byte{'l', 'a', 'r', 'g', 'e'})
	for range 4 {
		data := make([]byte, 1<<20)
		_, _ = random.Read(data) // never fails
		sets[0].write(data)
	}
	e.eventually(e.patience(), "4 MiB are on both nodes", func() error { return holdAll(4, sets...) })
	e.ready(nodes...) // what the two move while they settle on each other is no joiner's

	joining := e.open("c", rarely)
	nodes = append(nodes, joining)
	e.agreed(nodes...)
	sent := 0
	for _, n := range nodes {
		_, size := n.tap.sent()
		sent -= size
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watchers []*watcher
	for _, n := range nodes {
		watchers = append(watchers, watch(ctx, n))
	}
	sets = append(sets, joining.addSet("set"))
	e.eventually(e.patience(), "4 MiB reach the joiner", func() error { return holdAll(4, sets...) })
	for i, n := range nodes {
		if err := watchers[i].err(); err != nil {
			e.Error(err)
		}
		if err := lists(n.View(), n, nodes...); err != nil {
			e.Errorf("while a large state moved: %v", err)
		}
		_, size := n.tap.sent()
		sent += size
	}
	if most := 13 << 20; sent > most {
		e.Errorf("%d bytes were sent to move 4 MiB to one node, want at most %d", sent, most)
	}
}
