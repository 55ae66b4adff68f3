package sim

import (
	"slices"
	"time"
)

// closeLimit is how long it takes at most until a node that is to leave is gone,
// where no Merge keeps it.
const closeLimit = 20 * time.Second

// bounds are how long after the last fault what is promised holds.
type bounds struct{ views, ready, whole time.Duration }

func (w *World) bounds() bounds {
	t := w.scenario.Timing
	n := len(w.running())
	b := bounds{
		views: t.detect(n)*2 + t.Grace + 5*time.Second,
		whole: 150 * time.Second,
	}
	if w.invented { // names that nobody has: each says that it beats once a minute
		b.views += 5 * time.Minute
	}
	b.ready = b.views + t.Settle + 35*time.Second
	if t.Sync > 0 {
		b.whole = max(b.whole, b.views, time.Duration(n+1)*t.Sync+30*time.Second)
		b.ready = max(b.ready, b.views+2*t.Sync)
	}
	return b
}

// untilRest waits until all is whole, within the bounds, and then looks at what
// still goes on.
func (c *check) untilRest() {
	w := c.w
	if !w.scenario.Rest {
		return
	}
	began, b := w.now, w.bounds()
	c.lied = !c.honest
	c.honest = false // what was forged may still be about
	for w.failure == nil {
		w.run(w.now + 250*time.Millisecond)
		passed := w.now - began
		views, ready, whole := c.disagreement(), c.unready(), c.lacking()
		switch {
		case views != "" && passed > b.views:
			w.fail("%v after the last fault %s", passed, views)
		case ready != "" && passed > b.ready:
			w.fail("%v after the last fault %s", passed, ready)
		case whole != "" && passed > b.whole:
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
	calm := calmDown
	if w.scenario.Net.Native {
		calm += c.told()
		if c.lied { // a lie shows by two marks that are not believed
			calm += marks
		}
	}
	w.run(w.now + calm)
	t, n := w.scenario.Timing, float64(len(w.running()))
	before := w.tally.counts
	w.tally.counts = map[string]float64{}
	const window = 30 * time.Second
	w.run(w.now + window)
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
	beats := n * (seconds(window)/seconds(t.Heartbeat)*10/max(n, 10)*1.15 + 2)
	pulls := 0.0
	if t.Sync > 0 {
		pulls = n * (seconds(window)/(seconds(t.Sync)*0.85) + 1)
		if c.mixed() { // a state that one lacks is compared with the next
			pulls *= 3
		}
	}
	for kind, limit := range map[string]float64{
		"Heartbeat": beats, "Pull": pulls, "Answer": 6 * pulls, "Push": pulls, "List": 0, "ListRequest": 0, "Void": 0, "Missing": 0, "Kept": 0, "Goodbye": 0,
		"updates": 0, "views": 0, "reopens": 0,
	} {
		if now[kind] > limit {
			w.fail("at rest %d nodes sent %g %s in %v, %.0f are expected at most", int(n), now[kind], kind, window, limit)
		}
	}
}

// calmDown is how long after all is whole something may still go on: a search
// that cannot know that it was closed, and what backs off.
const calmDown = 45 * time.Second

// told is how long it takes at most, with native membership, until the last number of
// each key was told again: four idle keys a mark, of which the others may have lost
// those that came with the update.
func (c *check) told() time.Duration {
	keys := 0
	for _, p := range c.w.running() {
		keys = max(keys, len(p.keys))
	}
	return time.Duration((keys+3)/4) * 33 * time.Second
}

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
