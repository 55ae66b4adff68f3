package sim

import (
	"slices"
	"time"
)

// closeLimit is how long it takes at most until a node that is to leave is gone,
// where no Merge keeps it.
const closeLimit = 20 * time.Second

// Bounds are how long after the last fault what is promised holds.
type Bounds struct{ Views, Ready, Whole time.Duration }

// Bounds returns those of a number of nodes. Names that nobody has stay for longer:
// each says that it beats once a minute.
func (s *Scenario) Bounds(nodes int, invented bool) Bounds {
	t := s.Timing
	b := Bounds{
		Views: t.detect(nodes)*2 + t.Grace + 5*time.Second,
		Whole: 150 * time.Second,
	}
	if invented {
		b.Views += 5 * time.Minute
	}
	b.Ready = b.Views + t.Settle + 35*time.Second
	if t.Sync > 0 {
		b.Whole = max(b.Whole, b.Views, time.Duration(nodes+1)*t.Sync+30*time.Second)
		b.Ready = max(b.Ready, b.Views+2*t.Sync)
	}
	return b
}

// Calm is how long, after all is whole, something may still go on, where a node has
// so many states at most. With native membership a lie shows by two marks that are
// not believed.
func (s *Scenario) Calm(keys int, lied bool) time.Duration {
	calm := calmDown
	if s.Net.Native {
		calm += told(keys)
		if lied {
			calm += marks
		}
	}
	return calm
}

// RestWindow is for how long a cluster at rest is looked at.
const RestWindow = 30 * time.Second

// Idle returns how much a number of nodes send at rest, in RestWindow, at most: of
// each kind of message, and of updates. If their states are mixed, one that a
// member lacks is compared with the next.
func (s *Scenario) Idle(nodes int, mixed bool) map[string]float64 {
	t, n := s.Timing, float64(nodes)
	beats := n * (seconds(RestWindow)/seconds(t.Heartbeat)*10/max(n, 10)*1.15 + 2)
	pulls := 0.0
	if t.Sync > 0 {
		pulls = n * (seconds(RestWindow)/(seconds(t.Sync)*0.85) + 1)
		if mixed {
			pulls *= 3
		}
	}
	return map[string]float64{
		"Heartbeat": beats, "Pull": pulls, "Answer": 6 * pulls, "Push": pulls, "Walk": 0, "Walked": 0, "List": 0, "ListRequest": 0, "Void": 0, "Missing": 0, "Kept": 0, "Goodbye": 0,
		"updates": 0, "views": 0, "reopens": 0,
	}
}

// untilRest waits until all is whole, within the bounds, and then looks at what
// still goes on.
func (c *check) untilRest() {
	w := c.w
	if !w.scenario.Rest {
		return
	}
	began, b := w.now, w.scenario.Bounds(len(w.running()), w.invented)
	for w.failure == nil {
		w.run(w.now + 250*time.Millisecond)
		passed := w.now - began
		views, ready, whole := c.disagreement(), c.unready(), c.lacking()
		switch {
		case views != "" && passed > b.Views:
			w.fail("%v after the last fault %s", passed, views)
		case ready != "" && passed > b.Ready:
			w.fail("%v after the last fault %s", passed, ready)
		case whole != "" && passed > b.Whole:
			w.fail("%v after the last fault %s", passed, whole)
		}
		if views+ready+whole == "" {
			c.rested = passed
			break
		}
	}
	c.idle()
}

// idle wants nothing but heartbeats and the periodic comparison, as documented,
// once what was under way is over.
func (c *check) idle() {
	w := c.w
	keys := 0
	for _, p := range w.running() {
		keys = max(keys, len(p.keys))
	}
	w.run(w.now + w.scenario.Calm(keys, !c.honest))
	before := w.tally.counts
	w.tally.counts = map[string]float64{}
	w.run(w.now + RestWindow)
	now := w.tally.counts
	w.tally.counts = before
	if w.failure != nil {
		return
	}
	if lack := c.lacking(); lack != "" {
		w.fail("at rest %s", lack)
	}
	if views := c.disagreement(); views != "" {
		w.fail("at rest %s", views)
	}
	nodes := len(w.running())
	for kind, limit := range w.scenario.Idle(nodes, c.mixed()) {
		if now[kind] > limit {
			w.fail("at rest %d nodes sent %g %s in %v, %.0f are expected at most", nodes, now[kind], kind, RestWindow, limit)
		}
	}
}

// calmDown is how long after all is whole something may still go on: a search
// that cannot know that it was closed, and what backs off.
const calmDown = 45 * time.Second

// told is how long it takes at most, with native membership, until the last number of
// each key was told again: four idle keys a mark, of which the others may have lost
// those that came with the update.
func told(keys int) time.Duration { return time.Duration((keys+3)/4) * 33 * time.Second }

// marks is how long five marks take at most, with native membership: two until a
// void is said, two more until who does not know it is believed, and the next.
const marks = 170 * time.Second

// mixed reports whether the nodes have different states.
func (c *check) mixed() bool {
	all := c.w.running()
	for _, p := range all {
		if !slices.Equal(p.keys, all[0].keys) {
			return true
		}
	}
	return false
}
