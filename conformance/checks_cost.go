package conformance

import (
	"crypto/rand"
	"fmt"
	"time"
)

var costChecks = []*check{
	{name: "cost/equal-states", level: basic, rules: []int{23}, waits: true, body: costEqualStates,
		holds: "nodes at rest send heartbeats and digests, and nothing of their equal states"},
	{name: "cost/joiner", level: basic, rules: []int{23}, body: costJoiner,
		holds: "a joiner's state is sent once, whoever else has it"},
}

// random is what no transport compresses.
func random(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b) // it never fails
	return b
}

// sentBy returns the bytes that nodes have handed to their drivers.
func sentBy(nodes ...*node) (size int) {
	for _, n := range nodes {
		_, bytes := n.tap.sent()
		size += bytes
	}
	return size
}

// restLimit is how many bytes nodes at rest may send within a time, by the contract:
// less than 1 KB an exchange, and a heartbeat has fewer.
func (e *env) restLimit(nodes int, took time.Duration) int {
	timing := e.h.Timing.Channel
	beats, exchanges := int(took/timing.Heartbeat)+2, int(took/timing.Sync)+2
	return nodes * (beats + 2*exchanges) << 10
}

func costEqualStates(e *env) {
	nodes := e.openAll("a", "b", "c")
	sets := addSets("set", nodes)
	e.ready(nodes...)
	entry := random(1 << 20)
	sets[0].write(entry)
	e.eventually(e.limit(joiner), "the entry is everywhere", func() error { return holdAll(1, sets...) })

	// Wait until the effects of the update are over: two rounds of exchange that
	// find no difference.
	timing := e.h.Timing.Channel
	e.always(2*timing.Sync, "nothing is lost", func() error { return holdAll(1, sets...) })

	start, before := time.Now(), sentBy(nodes...)
	e.always(3*timing.Sync, "nothing is lost", func() error { return holdAll(1, sets...) })
	size, took := sentBy(nodes...)-before, time.Since(start)

	if limit := e.restLimit(len(nodes), took); size > limit {
		e.Errorf("three nodes at rest with an equal state of %d bytes sent %d bytes within %v, want at most %d: their heartbeats, and 1 KB an exchange",
			len(entry), size, took.Round(time.Millisecond), limit)
	}
}

func costJoiner(e *env) {
	const state = 2 << 20
	nodes := e.openRarely("a", "b", "c")
	sets := addSets("set", nodes)
	e.ready(nodes...)
	sets[0].write(random(state))
	e.eventually(e.limit(joiner), "the entry is everywhere", func() error { return holdAll(1, sets...) })

	// An origin claims an update some moments after it was sent: a joiner that comes
	// before asks for it.
	e.always(e.limit(leave), "nothing is lost", func() error { return holdAll(1, sets...) })

	before := sentBy(nodes...)
	d := e.open("d", rarely)
	joined := d.addSet("set")
	e.within(joiner, "the joiner has the state", func() error { return holdAll(1, append(sets, joined)...) })
	e.ready(d)
	// Anything more that is sent would be sent now: all members are asked for
	// their state.
	e.always(e.limit(leave), "the joiner has the state", func() error { return holdAll(1, joined) })
	if size := sentBy(append(nodes, d)...) - before; size > state+state/4 {
		e.Errorf("for a joiner of a state of %d bytes %s sent %d, want it once", state, fmt.Sprint(nodes), size)
	}
}
