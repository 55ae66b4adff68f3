package nemesis

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// bounds are how long it may take until what is promised holds, in the time of
// the canary.
type bounds struct {
	detect time.Duration // until a node knows that it is cut off
	views  time.Duration // from the last fault until all agree
	ready  time.Duration // until all are ready
	whole  time.Duration // until all states are equal
	leave  time.Duration // until a leave is seen by all
	turn   time.Duration // that WaitTurn gives each position
	gone   time.Duration // until nothing is left of a cluster
	hang   time.Duration // that steps, turns and Close may take to be over
}

// margin is room for a server that has just come back, and for the back-off of
// who looks for it.
const margin = 5 * time.Second

func boundsFor(t backend.Timing, detect time.Duration) bounds {
	b := bounds{detect: detect + time.Second, turn: time.Second, leave: 3 * time.Second, gone: 30 * time.Second, hang: 2 * time.Minute}
	b.views = detect + t.Grace + margin
	b.ready = b.views + t.Settle
	b.whole = b.views + 2*t.Sync
	return b
}

// election is how long several servers may take until they serve again as one.
const election = 20 * time.Second

// later adds time for a server that is not there at once.
func (b *bounds) later(d time.Duration) {
	b.views += d
	b.ready += d
	b.whole += d
}

// sound looks at one view of a node.
func (w *world) sound(n *node, v backend.View) {
	n.mu.Lock()
	last := n.last
	if v.Epoch >= last.Epoch {
		n.last = v
	}
	if n.self.Instance == "" && v.Position >= 0 && v.Position < len(v.Members) {
		n.self = v.Self()
	}
	self := n.self
	n.mu.Unlock()
	if !slices.IsSortedFunc(v.Members, compare) {
		w.fail(wellFormed, "the members of %s are not sorted: %s", n, show(v))
	}
	w.judged(wellFormed)
	at := slices.IndexFunc(v.Members, func(m backend.Member) bool { return compare(m, self) == 0 })
	switch {
	case at < 0:
		w.fail(wellFormed, "%s does not list itself: %s", n, show(v))
	case slices.ContainsFunc(v.Members[at+1:], func(m backend.Member) bool { return compare(m, self) == 0 }):
		w.fail(wellFormed, "%s lists itself twice: %s", n, show(v))
	case at != v.Position:
		w.fail(wellFormed, "%s is at %d of its list: %s", n, at, show(v))
	case v.Epoch < last.Epoch:
		w.fail(wellFormed, "the epoch of %s was %d: %s", n, last.Epoch, show(v))
	}
}

func compare(a, b backend.Member) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(a.Instance, b.Instance)
}

// rest waits until all is whole, within the bounds, and reports whether it is.
func (w *world) rest() bool {
	began := w.canary.Now()
	tests := []struct {
		p     *promise
		limit time.Duration
		test  func() error
		held  bool
	}{
		{oneView, w.bounds.views, w.agree, false},
		{ready, w.bounds.ready, w.unready, false},
		{reach, w.bounds.whole, w.equal, false},
	}
	for again := true; again && w.ctx.Err() == nil; {
		again = false
		for i := range tests {
			t := &tests[i]
			err := t.test()
			passed := w.canary.Now() - began
			if err == nil {
				if !t.held {
					w.judged(t.p)
					w.measure(t.p.name, passed)
				}
				t.held = true
				continue
			}
			again, t.held = true, false
			if passed > t.limit {
				w.fail(t.p, "%v after the last fault %v", passed.Round(100*time.Millisecond), err)
				return false
			}
		}
		w.pause()
	}
	w.say("all is whole after %v", (w.canary.Now() - began).Round(time.Millisecond))
	return w.ctx.Err() == nil
}

// poll is how often the cluster is looked at.
const poll = 50 * time.Millisecond

func (w *world) pause() {
	select {
	case <-time.After(poll):
	case <-w.ctx.Done():
	}
}

// within waits until test returns nil, at most for limit. It reports whether it
// has; else p is broken.
func (w *world) within(p *promise, limit time.Duration, what string, test func() error) bool {
	began := w.canary.Now()
	for {
		err := test()
		switch {
		case err == nil:
			return true
		case w.ctx.Err() != nil:
			return false
		case w.canary.Now()-began > limit:
			w.fail(p, "not within %v: %s: %v", limit, what, err)
			return false
		}
		w.pause()
	}
}

func (w *world) measure(name string, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.measured[name] = max(w.measured[name], took)
}

// agree wants each living node to be attached, and to list all of them.
func (w *world) agree() error {
	alive := w.alive()
	want := make([]backend.Member, len(alive))
	for i, n := range alive {
		want[i] = n.self
	}
	slices.SortFunc(want, compare)
	for _, n := range alive {
		v := n.view()
		if !slices.EqualFunc(v.Members, want, func(a, b backend.Member) bool { return compare(a, b) == 0 }) {
			return fmt.Errorf("%s does not list the %d that live: %s", n, len(want), show(v))
		}
		if v.Status != backend.Attached {
			return fmt.Errorf("%s is not attached: %s", n, show(v))
		}
		if v.Err != nil {
			return fmt.Errorf("%s has an error: %s", n, show(v))
		}
	}
	return nil
}

// unready wants each state of each living node to be ready, or named.
func (w *world) unready() error {
	for _, n := range w.alive() {
		v := n.view()
		if v.Ready == backend.Settling || v.Ready == backend.TimedOut && len(v.Unready) == 0 {
			return fmt.Errorf("%s is %v and names none: %s", n, v.Ready, show(v))
		}
	}
	return nil
}

// equal wants each living node to hold all that any of them does.
func (w *world) equal() error {
	alive := w.alive()
	for _, key := range allKeys {
		all, have := map[string]bool{}, make([]map[string]bool, len(alive))
		for i, n := range alive {
			have[i] = n.holds(key)
			maps.Copy(all, have[i])
		}
		for i, n := range alive {
			if len(have[i]) == len(all) {
				continue
			}
			var lacks []string
			for name := range all {
				if !have[i][name] {
					lacks = append(lacks, name)
				}
			}
			slices.Sort(lacks)
			return fmt.Errorf("%s lacks %d of %d entries of %s: %s", n, len(lacks), len(all), key, strings.Join(lacks[:min(5, len(lacks))], " "))
		}
	}
	return nil
}

// atRest looks at the cluster while nothing is broken: what is written reaches all,
// what waits for its turn is done once, and who leaves has not failed.
func (w *world) atRest() {
	alive := w.alive()
	if len(alive) == 0 {
		return
	}
	for _, n := range alive {
		for _, key := range keys {
			n.put(key, 100)
		}
	}
	began := time.Now()
	if !w.within(reach, w.bounds.whole, "what is written at rest reaches all", w.equal) {
		return
	}
	w.turns.exactly(alive, time.Since(began))
	if len(alive) > 1 && w.ctx.Err() == nil {
		w.parting(alive)
	}
}

// mostSeries is how many a node of a small cluster may have.
const mostSeries = 250

// lastWords is how many entries a node writes just before it leaves.
const lastWords = 50

// parting lets one node leave, and wants the others to count it as such, and to have
// what it wrote until then.
func (w *world) parting(alive []*node) {
	w.judged(parting)
	before := map[*node]figures{}
	goes := alive[w.schedule.Seed%uint64(len(alive))]
	for _, n := range alive {
		if before[n] = w.figures(n); before[n].Series > mostSeries {
			w.fail(resources, "%s has %d series in a cluster of %d with %d states", n, before[n].Series, len(alive), len(allKeys))
		}
		w.say("%s has %d series", n, before[n].Series)
	}
	began := time.Now()
	for range lastWords {
		goes.put(plain, 50)
	}
	w.leave(goes.key)
	if !w.within(oneView, w.bounds.leave, "all see that "+goes.String()+" has left", w.agree) {
		return
	}
	for _, n := range w.alive() {
		now, was := w.figures(n), before[n]
		if now.Left == was.Left+1 && now.Failed == was.Failed {
			continue
		}
		if late := w.late(began); late > 2*w.timing.Heartbeat { // others may have stood still
			w.notJudged(parting, "the process stood still for %v while %s left", late, goes)
			break
		}
		w.fail(parting, "%s left, and %s counts %g more that left and %g more that failed", goes, n, now.Left-was.Left, now.Failed-was.Failed)
	}
	w.within(reach, w.bounds.whole, "what "+goes.String()+" wrote before it left is there", func() error { return w.hold(goes) })
}

// hold wants each living node to hold all that a former one has written at rest.
func (w *world) hold(former *node) error {
	for name := range former.holds(plain) {
		for _, n := range w.alive() {
			if !n.holds(plain)[name] {
				return fmt.Errorf("%s lacks %s", n, name)
			}
		}
	}
	return nil
}

func (w *world) figures(n *node) figures {
	f, err := n.seat.figures()
	if err != nil {
		w.fail(resources, "the metrics of %s: %v", n, err)
	}
	return f
}
