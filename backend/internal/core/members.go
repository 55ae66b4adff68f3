package core

// onHeartbeat notes that another node lives.
func (c *Core) onHeartbeat(from string, h *Heartbeat) {
	p, short := c.roster.get(from), h.Like != 0
	if short {
		full := c.completed(p, h)
		if full == nil {
			c.nameless(p, h)
			return
		}
		h = full
	}
	m := h.Member
	m.Instance = from
	if !validMember(m) {
		c.reject(from, "member")
		return
	}
	if p == nil {
		if p = c.meet(m); p == nil {
			return
		}
	}
	if p.numbered && p.life == live && p.Name != m.Name { // the name belongs to the instance
		if !c.persists(p, h.Count) {
			if h.Count > p.count { // what names it tells no more
				p.doubted = h.Count
			}
			c.reject(from, "name")
			return
		}
		p.numbered = false // the name that it had was a lie
	}
	if !c.believe(p, h.Incarnation, h.Count, h.Leaving) {
		return
	}
	wasWhole, wasKnown, wasLive := p.known && p.worth == Whole, p.known, p.life == live
	quiet := c.now - p.heardAt
	p.count, p.ignored, p.numbered = h.Count, 0, true
	p.heardAt, p.alone, p.brief = c.now, h.Alone, h.Brief
	c.learnWorth(p, h.Worth, h.KeySet)
	c.learnMember(p, m)
	for _, l := range h.Numbers {
		c.announced(p, p.incarnation, l)
	}
	for _, d := range h.Departed {
		c.onDeparted(p, d)
	}
	switch {
	case c.link == down && !c.wasUp: // whether a list decides who is present is not known yet
		p.beat.Beat(h.Interval, c.cfg.Heartbeat)
	case c.transport.Native: // the list decides who is present, but for those who say that they leave it
		p.beat.Beat(h.Interval, c.cfg.Heartbeat)
		if p.parting = h.Leaving; h.Leaving {
			c.part(p, leaving)
		} else if p.life != live && p.listed {
			c.relist(p)
		}
	case h.Leaving:
		c.leave(p, leaving)
	default:
		p.beat.Beat(h.Interval, c.cfg.Heartbeat)
		c.appear(p)
		if !h.Hello {
			c.beatWith(p, quiet)
		}
	}
	if p.life == live {
		if !p.steady { // its interval may be another than it was
			c.self.at = min(c.self.at, max(c.now, p.since+c.steadyFor(p)))
		}
		c.seeView(p, h.View)
		if !short {
			p.full, p.doubted = h.Count, 0
		}
		if !wasWhole && h.Worth == Whole {
			c.searchReady()
			if wasKnown && wasLive {
				c.reopenLost(p)
			}
		}
		if h.Worth != Joining && !wasKnown && wasLive { // else it was met when it appeared
			c.meetReady(p)
		}
	}
	if h.Hello {
		c.full = nil // it may have missed that one
		c.asked.returned(c, p)
		c.oweList(p)
	}
}

// nameless handles a short heartbeat of a node whose name is not known, or was said to
// have left: a full one follows. Until then nobody is alone, but once: anybody can say so.
func (c *Core) nameless(p *node, h *Heartbeat) {
	switch {
	case p == nil || p.life == stranger:
		c.full = nil // nor may it know this node
		if c.unknownAt == Never {
			c.unknownAt = c.now
			c.readySoon()
		}
	case p.life == left && h.Incarnation <= p.incarnation:
		c.ignore(p, h.Count)
	}
}

// believe reports whether a heartbeat or goodbye with this incarnation and count
// is news of the node, and moves the node on to the incarnation.
func (c *Core) believe(p *node, incarnation uint32, count uint64, leaves bool) bool {
	switch {
	case !p.numbered && incarnation != p.incarnation: // what others said of it gives way
		c.advance(p, incarnation)
	case distance(incarnation, p.incarnation) > maxRaise: // neither can follow the other
		if !c.persists(p, count) {
			c.reject(p.Instance, "incarnation")
			return false
		}
		c.advance(p, incarnation)
	case incarnation > p.incarnation:
		c.advance(p, incarnation)
	case incarnation < p.incarnation, count <= p.count, p.life == left, p.life == leaving && !leaves:
		c.ignore(p, count)
		return false
	}
	p.voided = false
	return true
}

// meet makes a node known that was not.
func (c *Core) meet(m Member) *node {
	if c.roster.full(stranger) {
		if old := c.roster.oldest(stranger); c.now-old.since > c.cfg.Heartbeat {
			c.forget(old)
		} else {
			c.note(NoteLimited, nil, "", 1, "strangers")
			return nil
		}
	}
	p := c.roster.add(m)
	p.since = c.now
	c.departAt = min(c.departAt, c.now+strangerFor)
	return p
}

// learnMember handles what a node says of itself.
func (c *Core) learnMember(p *node, m Member) {
	if equalMembers(p.Member, m) {
		return
	}
	updated := p.life == live
	c.roster.describe(p, m)
	if updated {
		c.changed = true
		c.note(NoteUpdated, p, "", 1, "")
	}
}

// learnWorth handles what an exchange with the node is worth.
func (c *Core) learnWorth(p *node, w Worth, keySet uint64) {
	p.worth, p.known = w, true
	if p.keySet != keySet {
		p.keySet, p.lacks, p.wholes, p.spurned = keySet, nil, nil, nil
	}
}

// onDeparted handles the last numbers of somebody who has gone, as another
// member tells them.
func (c *Core) onDeparted(teller *node, d Departed) {
	p := c.roster.get(d.Instance)
	if p == nil || !p.wasMember() || d.Incarnation != p.incarnation {
		return
	}
	for _, l := range d.Numbers {
		c.announced(p, p.incarnation, l)
		if s := p.streams[l.Key]; s != nil && s.missing.Has(l.Number) {
			s.teller = teller
		}
	}
}
