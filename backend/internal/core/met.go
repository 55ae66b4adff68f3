package core

import (
	"slices"
	"time"
)

// meetReady notes that a member has been ready when it is first heard of, or that it is
// heard of again, whatever it is ready with: two parts of a cluster meet, where this node
// has states that are ready. Either may still repair itself, and has what its part had.
func (c *Core) meetReady(p *node) {
	if !slices.ContainsFunc(c.keys, c.isReady) {
		return
	}
	c.joined = append(c.joined, p)
	c.metAgain(joinPause)
}

// compareJoined has each state compared with one of those that appeared and were
// ready already: two parts of a cluster have met.
func (c *Core) compareJoined() {
	c.joinedAt = Never
	joined := c.joined
	c.joined = nil
	for _, st := range c.keys {
		if len(joined) > 0 && c.isReady(st) {
			st.met, st.metTries = append(slices.Clip(st.met), joined...), 0
		}
	}
	if c.closing || c.link != attached {
		return // looked at when the link is up again
	}
	c.askMet()
	c.pay()
}

// askMet asks one of those that each state has met, the same for as many states
// as can be. Who lacks a state, or does not answer, is followed by the next.
func (c *Core) askMet() {
	var picked []*node
	groups := map[*node][]*state{}
	for _, st := range c.keys {
		if len(st.met) == 0 {
			continue
		}
		st.met = slices.DeleteFunc(slices.Clone(st.met), func(p *node) bool { return !p.present() || p.lacks[st.key] })
		i := slices.IndexFunc(picked, func(p *node) bool { return slices.Contains(st.met, p) })
		switch {
		case len(st.met) == 0:
			continue
		case !st.isFree():
			c.metAgain(busyPause)
			continue
		case i < 0:
			p := c.pickMet(st.met)
			if p == nil {
				c.metAgain(busyPause)
				continue
			}
			i, picked = len(picked), append(picked, p)
		}
		groups[picked[i]] = append(groups[picked[i]], st)
	}
	for _, p := range picked {
		if len(c.asked.pulls) >= maxPulls || !c.asked.start(c, p, groups[p], "joined") {
			c.metAgain(busyPause)
			continue
		}
		for _, st := range groups[p] {
			if st.metTries++; st.metTries >= maxRounds {
				st.met = nil // the period brings it
			}
		}
	}
}

// pickMet returns one that no exchange is under way with: on a bus the lowest,
// that all ask, which answers all at once.
func (c *Core) pickMet(met []*node) (best *node) {
	alike := 0
	for _, p := range met {
		if c.asked.with(p) != nil {
			continue
		}
		alike++
		if best == nil || c.transport.Unicast && c.rand.IntN(alike) == 0 || !c.transport.Unicast && compareMembers(p.Member, best.Member) < 0 {
			best = p
		}
	}
	return best
}

// metAsked handles what came of asking a member for a state, if it is one that
// the state has met.
func (c *Core) metAsked(st *state, p *node, o outcome) {
	switch {
	case !slices.Contains(st.met, p):
	case o == answeredHere, o == refused:
		st.met = nil
	case o == lacked:
		c.metAgain(0)
	default:
		c.metAgain(min(busyPause<<max(st.metTries-1, 0), maxPause))
	}
}

// debt is what a state owes a member that was met and differed: what that member lacks of
// it, unless it asks for itself by then.
type debt struct {
	to  *node
	due time.Duration
}

// owe notes that a member that was met lacks something of a state. It asks for itself as
// a rule, since it has met this node; one that met it long before does not.
func (c *Core) owe(st *state, p *node) {
	st.settle(p)
	st.owed = append(st.owed, debt{p, c.now + metPatience})
	c.metAgain(metPatience)
}

// settle ends what the state owes a member.
func (st *state) settle(p *node) {
	st.owed = slices.DeleteFunc(st.owed, func(d debt) bool { return d.to == p })
}

// paid notes that a member asks for itself.
func (c *Core) paid(p *node, m *Pull) {
	for _, st := range c.keys {
		if len(st.owed) > 0 && (m.HasRoot || slices.ContainsFunc(m.Items, func(it PullItem) bool { return it.Key == st.key })) {
			st.settle(p)
		}
	}
}

// pay compares states with the members that have not asked for them: what differs is
// pushed then.
func (c *Core) pay() {
	due := map[*node][]*state{}
	var owed []*node
	for _, st := range c.keys {
		st.owed = slices.DeleteFunc(st.owed, func(d debt) bool { return !d.to.present() || d.to.lacks[st.key] })
		free := st.isFree() // for one exchange at a time
		for _, d := range st.owed {
			switch {
			case c.now < d.due:
				c.metAgain(d.due - c.now)
			case !free || c.asked.with(d.to) != nil:
				c.metAgain(busyPause)
			default:
				if free = false; due[d.to] == nil {
					owed = append(owed, d.to)
				}
				due[d.to] = append(due[d.to], st)
			}
		}
	}
	for _, p := range owed {
		if len(c.asked.pulls) >= maxPulls || !c.asked.start(c, p, due[p], "periodic") {
			c.metAgain(busyPause)
			continue
		}
		for _, st := range due[p] {
			st.settle(p)
		}
	}
}

// metAgain has what the states have met looked at once more.
func (c *Core) metAgain(pause time.Duration) { c.joinedAt = min(c.joinedAt, c.now+pause) }
