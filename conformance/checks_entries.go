package conformance

import (
	"fmt"
	"maps"
	"time"
)

var entriesChecks = []*check{
	{name: "entries/difference", level: basic, rules: []int{23, 2}, waits: true, body: entriesDifference,
		holds: "of a large state that can be taken apart what differs moves, and the state does not"},
	{name: "entries/order", level: basic, rules: []int{23}, waits: true, body: entriesOrder,
		holds: "entries that are told in another order are no difference"},
	{name: "entries/large", level: basic, rules: []int{5, 2}, waits: true, body: entriesLarge,
		holds: "an entry that is larger than a frame is exchanged beside small ones"},
	{name: "entries/source-dies", level: fault, rules: []int{2, 23}, needs: links, body: entriesSourceDies,
		holds: "a joiner whose source dies half-way gets the rest from another member, and not all again"},
	{name: "entries/lies", level: basic, rules: []int{24, 23}, waits: true, body: entriesLies,
		holds: "a member that tells entries which it cannot give costs little, and what it can give is merged"},
}

// takesApart reports whether the nodes exchange states entry by entry, as they do where
// the transport sends to one member alone. Else they exchange whole ones, which other
// checks look at.
func (e *env) takesApart(n *node) bool {
	_, caps := n.tap.driver()
	if caps.Send == nil {
		e.notChecked("the transport does not send to one member, so whole states are exchanged")
	}
	return caps.Send != nil
}

// equalEntries adds a set of so many entries to each of nodes, which are equal.
func equalEntries(nodes []*node, count, size int) []*entrySet {
	all := make([]*entrySet, len(nodes))
	for i, n := range nodes {
		all[i] = n.newEntries()
		if i > 0 {
			all[i].entries = maps.Clone(all[0].entries)
			continue
		}
		for range count {
			all[0].put(random(size))
		}
	}
	return all
}

func joinAll(key string, sets []*entrySet) {
	for _, s := range sets {
		s.join(key, s)
	}
}

// plain are the sets without their entries' ids.
func plain(sets ...*entrySet) (all []*set) {
	for _, s := range sets {
		all = append(all, s.set)
	}
	return all
}

func entriesDifference(e *env) {
	const count, size, differ = 4_000, 512, 5
	nodes := e.openAll("a", "b")
	if !e.takesApart(nodes[0]) {
		return
	}
	sets := equalEntries(nodes, count, size)
	joinAll("set", sets)
	e.ready(nodes...)
	timing := e.h.Timing.Channel
	e.always(2*timing.Sync, "equal sets stay as they are", func() error { return holdAll(count, plain(sets...)...) })

	start, before := time.Now(), sentBy(nodes...)
	for range differ {
		for _, s := range sets {
			s.put(random(size))
		}
	}
	e.eventually(3*timing.Sync+e.limit(leave), "what differed is on both nodes", func() error {
		return holdAll(count+differ*len(sets), plain(sets...)...)
	})
	moved, most := sentBy(nodes...)-before, 64<<10+e.restLimit(len(nodes), time.Since(start))
	if moved > most {
		e.Errorf("%d bytes were sent for %d of %d entries of %d bytes, want at most %d: the difference, not the state",
			moved, differ*len(sets), count, size, most)
	}
}

func entriesOrder(e *env) {
	const count = 1_000
	nodes := e.openAll("a", "b")
	if !e.takesApart(nodes[0]) {
		return
	}
	sets := equalEntries(nodes, count, 256)
	sets[1].backwards = true
	joinAll("set", sets)
	e.ready(nodes...)
	timing := e.h.Timing.Channel
	e.always(2*timing.Sync, "equal sets stay as they are", func() error { return holdAll(count, plain(sets...)...) })
	start, before := time.Now(), sentBy(nodes...)
	e.always(3*timing.Sync, "equal sets stay as they are", func() error { return holdAll(count, plain(sets...)...) })
	if moved, most := sentBy(nodes...)-before, e.restLimit(len(nodes), time.Since(start)); moved > most {
		e.Errorf("%d bytes were sent for entries that differ in their order alone, want at most %d", moved, most)
	}
}

func entriesLarge(e *env) {
	const count, large = 20, 3 << 20 // larger than a frame of any backend of this project
	nodes := e.openAll("a", "b")
	if !e.takesApart(nodes[0]) {
		return
	}
	sets := equalEntries(nodes, count, 256)
	joinAll("set", sets)
	e.ready(nodes...)
	sets[0].put(random(large))
	sets[1].put(random(256))
	e.eventually(3*e.h.Timing.Channel.Sync+e.patience(), "both entries are on both nodes", func() error {
		return holdAll(count+2, plain(sets...)...)
	})
}

func entriesSourceDies(e *env) {
	const count, size = 4_000, 1 << 10
	nodes := e.openRarely("a", "b")
	if !e.takesApart(nodes[0]) {
		return
	}
	sets := equalEntries(nodes, count, size)
	joinAll("set", sets)
	e.ready(nodes...)

	c := e.open("c", rarely)
	e.agreed(append(nodes, c)...)
	before := sentBy(append(nodes, c)...)
	joined := c.newEntries()
	resume := joined.holdMergeAt(count / 2)
	defer resume()
	joined.join("set", joined)
	e.eventually(3*e.patience(), "a part of the entries is on the joiner", func() error {
		if joined.held.Load() == 0 {
			return fmt.Errorf("it holds %d entries", joined.len())
		}
		return nil
	})
	source, other := 0, 1
	if sets[1].given.Load() > sets[0].given.Load() {
		source, other = 1, 0
	}
	nodes[source].kill()
	resume()
	e.eventually(2*e.limit(detect)+e.patience(), "all entries are on the joiner", func() error {
		return holdAll(count, joined.set, sets[other].set)
	})
	if moved, most := sentBy(append(nodes, c)...)-before, count*size*135/100; moved > most {
		e.Errorf("%d bytes were sent for a joiner of a state of %d bytes whose source died half-way, want at most %d: the rest, not all again",
			moved, count*size, most)
	}
}

func entriesLies(e *env) {
	const count, size, lies = 2_000, 512, 500
	nodes := e.openAll("a", "b", "c")
	if !e.takesApart(nodes[0]) {
		return
	}
	sets := equalEntries(nodes, count, size)
	sets[2].lies = lies
	joinAll("set", sets)
	e.ready(nodes...)
	timing := e.h.Timing.Channel
	start, before := time.Now(), sentBy(nodes...)
	for _, s := range sets {
		s.put(random(size))
	}
	e.eventually(4*timing.Sync+e.patience(), "what is true is on all nodes", func() error { return holdAll(count+3, plain(sets...)...) })
	e.always(4*timing.Sync, "the view is the same", func() error { return agree(nodes...) })

	const each = 64 << 10 // a sketch, the places of the lies, and what is given for them
	took := time.Since(start)
	exchanges := len(nodes) * (int(took/timing.Sync) + 2)
	if moved, most := sentBy(nodes...)-before, 2*exchanges*each+e.restLimit(len(nodes), took); moved > most {
		e.Errorf("%d bytes were sent within %v beside a member that tells %d entries which it does not have, want at most %d",
			moved, took.Round(time.Millisecond), lies, most)
	}
}
