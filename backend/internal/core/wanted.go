package core

import (
	"slices"
	"time"
)

// tick does what is due.
func (a *asked) tick(c *Core) {
	for _, pl := range a.due(c.now) {
		switch {
		case !pl.sent:
			a.send(c, pl)
		case pl.missed:
			a.askAgain(c, pl)
		case c.now >= pl.limit:
			a.overdue(c, pl)
		default:
			a.giveUp(c, pl)
		}
	}
	a.tickWalks(c)
	if len(a.late) > 0 {
		a.late = slices.DeleteFunc(a.late, func(pl *pull) bool { return c.now >= pl.deadline })
	}
	if c.now >= a.syncAt {
		a.syncAt = c.now + c.syncPause()
		if c.link == attached && !c.closing {
			a.period(c)
		}
	}
	if c.now >= a.at {
		a.search(c)
	}
}

func (a *asked) next(c *Core) time.Duration {
	at := min(a.at, a.syncAt)
	for _, pl := range a.pulls {
		at = min(at, pl.deadline)
	}
	for _, pl := range a.late {
		at = min(at, pl.deadline)
	}
	for _, w := range a.walks {
		if w.sent != nil {
			at = min(at, w.deadline)
		}
	}
	return at
}

// search asks for what states need.
func (a *asked) search(c *Core) {
	a.at = Never
	if c.link == down || c.link == unheard || c.closing {
		return // looked at when the link is up again
	}
	var due []*state
	for _, st := range c.keys {
		switch s := &st.search; {
		case st.news && st.isFree() && c.link == attached:
			a.news(c, st)
		case !s.open || st.pull != nil:
		case c.now < s.at:
			a.at = min(a.at, s.at)
		case !st.isFree():
			s.at = c.now + busyPause
			a.at = min(a.at, s.at)
		default:
			due = append(due, st)
		}
	}
	for len(due) > 0 {
		st := due[0]
		p, wait := c.candidate(st)
		if p == nil {
			due = due[1:]
			switch {
			case a.anyWith(c, st): // it is looked at when that exchange is over
				continue
			case wait != Never && len(st.search.tried) == 0:
				st.search.at = wait
			default:
				c.roundOver(st)
			}
			if st.search.open {
				a.at = min(a.at, st.search.at)
			}
			continue
		}
		if len(a.pulls) >= maxPulls {
			return // looked at when one of them ends
		}
		var keys, others []*state
		for _, st := range due {
			if !p.lacks[st.key] && !slices.Contains(st.search.tried, p) && len(st.search.tried) < maxAsked {
				keys = append(keys, st)
			} else {
				others = append(others, st)
			}
		}
		if !a.start(c, p, keys, st.search.reason) {
			a.at = a.starts.next(c.now)
			return
		}
		due = others
	}
}

// anyWith reports whether an exchange is under way with a member that the state
// could be asked of next.
func (a *asked) anyWith(c *Core, st *state) bool {
	return len(st.search.tried) < maxAsked && slices.ContainsFunc(a.pulls, func(pl *pull) bool {
		return pl.node.present() && !pl.node.lacks[st.key] && !slices.Contains(st.search.tried, pl.node)
	})
}

// period compares all states with the next member of the cycle, and those that
// it lacks with the next ones that have them.
func (a *asked) period(c *Core) {
	rest := c.keys
	for range 2 * len(c.roster.all) {
		if len(rest) == 0 {
			return
		}
		p := a.nextInCycle(c)
		if p == nil || len(a.pulls) >= maxPulls {
			return
		}
		if a.with(p) != nil {
			continue
		}
		var here, lacked []*state
		for _, st := range rest {
			switch {
			case p.lacks[st.key]:
				lacked = append(lacked, st)
			case st.isFree():
				here = append(here, st)
			}
		}
		if len(here) > 0 && !a.start(c, p, here, "periodic") {
			return
		}
		rest = lacked
	}
}

// nextInCycle returns the next of the members, shuffled anew when all were asked.
func (a *asked) nextInCycle(c *Core) *node {
	for range 2 {
		for len(a.cycle) > 0 {
			p := a.cycle[0]
			a.cycle = a.cycle[1:]
			if p.life == live && !p.foreign() && c.roster.get(p.Instance) == p {
				return p
			}
		}
		for _, p := range c.roster.live {
			if !p.foreign() {
				a.cycle = append(a.cycle, p)
			}
		}
		c.rand.Shuffle(len(a.cycle), func(i, j int) { a.cycle[i], a.cycle[j] = a.cycle[j], a.cycle[i] })
	}
	return nil
}

// news compares what states hold with the next member, before the period is
// over.
func (a *asked) news(c *Core, st *state) {
	p := a.nextInCycle(c)
	if p == nil || a.with(p) != nil || len(a.pulls) >= maxPulls {
		st.news = false
		return
	}
	keys := c.free(func(st *state) bool { return st.news && !p.lacks[st.key] })
	if a.starts.spare(c.now) && a.start(c, p, keys, "periodic") {
		return
	}
	st.news = false // the period brings it
}

// spread has the state compared with the next member soon: it holds something
// that others may lack.
func (c *Core) spread(st *state) {
	st.news = true
	c.asked.at = c.now
}

// free returns the states that no exchange is under way for, and whose queue has
// room.
func (c *Core) free(also func(*state) bool) (keys []*state) {
	for _, st := range c.keys {
		if st.isFree() && also(st) {
			keys = append(keys, st)
		}
	}
	return keys
}

func (c *Core) syncPause() time.Duration {
	return c.cfg.Sync - c.cfg.Sync/10 + time.Duration(c.rand.Int64N(int64(c.cfg.Sync/5)+1))
}

// owed reports whether the answer of a member that was busy may still come.
func (a *asked) owed(st *state) bool {
	return slices.ContainsFunc(a.late, func(pl *pull) bool {
		k := pl.key(st.key)
		return k != nil && k.stage == busyThere && pl.node.present()
	})
}

// againAt returns when a node may be asked once more for a state that was busy
// and whose answer may still come.
func (a *asked) againAt(p *node, st *state) (at time.Duration) {
	for _, pl := range a.late {
		if k := pl.key(st.key); pl.node == p && k != nil && k.stage == busyThere {
			at = max(at, pl.againAt)
		}
	}
	return at
}
