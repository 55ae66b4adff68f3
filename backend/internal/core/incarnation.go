package core

import (
	"slices"
)

// ignore notes a heartbeat that is not believed. A node that goes on is told, and
// believed if it still goes on then.
func (c *Core) ignore(p *node, count uint64) {
	switch {
	case !c.persists(p, count):
	case p.voided:
		p.ignored, p.voided, p.count, p.numbered = 0, false, 0, false
		if p.life == left || p.life == leaving {
			c.roster.turn(p, stranger, c.now)
		}
	case c.voids.take(c.now, 1):
		p.ignored, p.voided = 0, true
		c.send("", &Void{Instance: p.Instance, Incarnation: p.incarnation})
	}
}

// persists counts a heartbeat that is not believed, and reports whether it goes
// on. Old ones come again, in any order. But one that goes on for longer than a
// silence is allowed to be is of a node that lives, and that something false is
// believed of.
func (c *Core) persists(p *node, count uint64) bool {
	if c.link == down || c.link == unheard {
		p.ignored = 0 // what a bus hands over at first may be a backlog
		return false
	}
	before := p.ignoredN
	p.ignoredN = count
	if p.ignored > 0 && count <= before {
		return false
	}
	if p.ignored > 0 && c.now-p.ignoredAt < c.cfg.Heartbeat/2 {
		return false // a backlog comes all at once
	}
	p.ignored++
	p.ignoredAt = c.now
	enough, silence := voidAfter, 4*c.cfg.Heartbeat
	if c.transport.Native { // marks are rare, and none of before comes later than its copies
		enough, silence = voidAfterMarks, max(silence, c.transport.Copies)
	}
	return p.ignored >= enough && c.now-max(p.heardAt, p.since) >= silence
}

// distance is how far two incarnations are apart.
func distance(a, b uint32) uint32 { return max(a, b) - min(a, b) }

// advance moves a node on to a higher incarnation. Its numbers begin anew; the
// former ones stay known, for late updates.
func (c *Core) advance(p *node, incarnation uint32) {
	for _, s := range sortedStreams(p.former) {
		c.dropStream(s)
	}
	for _, s := range sortedStreams(p.streams) {
		c.giveUp(s, s.missing)
	}
	p.former, p.formerly, p.streams = p.streams, p.incarnation, map[string]*stream{}
	p.incarnation, p.count, p.full, p.ignored = incarnation, 0, 0, 0
	if p.life == left || p.life == leaving {
		c.roster.turn(p, stranger, c.now)
	}
}

// onVoid notes that somebody holds this node for gone.
func (c *Core) onVoid(p *node, v *Void) {
	if v.Instance != c.cfg.Self.Instance || p == nil || !p.present() {
		return
	}
	if v.Incarnation < c.incarnation {
		return // the raise is on its way to it
	}
	c.raise(v.Incarnation, "held for gone by "+p.Name)
}

// raise begins a new incarnation, above one that something false was said of.
// The numbers begin anew, and what is kept is sent again.
func (c *Core) raise(above uint32, why string) {
	if above < c.incarnation || above-c.incarnation > maxRaise {
		c.reject(c.cfg.Self.Instance, "incarnation")
		return
	}
	if c.closing || !c.raises.take(c.now, 1) {
		return
	}
	c.incarnation = above + 1
	c.pulse.Reset()
	c.note(NoteRaised, nil, "", uint64(c.incarnation), why)
	for _, st := range c.keys {
		c.expireKept(st)
		st.assigned = st.kept.renumber()
		st.sent, st.earlier, st.former, st.own = st.assigned, [2]mark{}, 0, nil
		c.tellSoon(st)
	}
	clear(c.retired)
	c.beatNow()
	for _, st := range c.keys {
		if st.assigned > 0 {
			c.sendAgain("", st, Ranges{{1, st.assigned}})
		}
	}
}

// onOwnMessage handles a message in this node's own name: an echo, or a lie.
func (c *Core) onOwnMessage(m Message) {
	switch m := m.(type) {
	case *Heartbeat:
		switch {
		case m.Incarnation < c.incarnation:
		case m.Incarnation > c.incarnation, m.Count > c.pulse.Count(), m.Leaving && !c.closing, c.above(m.Numbers):
			c.raise(m.Incarnation, "a heartbeat that this node did not send")
		default:
			c.onEcho(m.Count)
		}
	case *Goodbye:
		if m.Incarnation >= c.incarnation && !c.closing {
			c.raise(m.Incarnation, "a goodbye that this node did not say")
		}
	}
}

// above reports whether one of the numbers is above what this node has used.
func (c *Core) above(numbers []Last) bool {
	return slices.ContainsFunc(numbers, func(l Last) bool {
		st := c.states[l.Key]
		return st != nil && l.Number > st.assigned
	})
}
