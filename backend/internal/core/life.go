package core

import (
	"slices"
	"time"
)

// appear makes a node a member of the view.
func (c *Core) appear(p *node) {
	if p.life == live {
		return
	}
	if c.roster.full(live) {
		c.note(NoteLimited, p, "", 1, "members")
		return
	}
	returned := p.life == failed
	c.roster.turn(p, live, c.now)
	p.member, p.tell = true, 0
	c.changed, c.full = true, nil // it may know nothing of this node
	c.note(NoteJoined, p, "", 1, "")
	c.steadySoon(p)
	for _, s := range sortedStreams(p.streams) {
		if returned {
			s.reopen()
		}
		c.holes.note(s, c.now+reorderDelay)
	}
	if !p.foreign() {
		c.joinedNode(p)
		c.answered.appeared(c, p)
		if returned || p.known && p.worth != Joining {
			c.meetReady(p)
		}
	}
}

// leave takes a node out of the view that leaves by its own will.
func (c *Core) leave(p *node, how life) {
	switch p.life {
	case live:
		c.note(NoteLeft, p, "", 1, "")
		c.gone(p, tellDeparted)
	case leaving:
		if how == leaving {
			return
		}
	}
	if how == left {
		c.makeRoom()
	}
	c.roster.turn(p, how, c.now)
	c.departAt = min(c.departAt, c.now+departedFor)
	if how == left {
		c.unaskable(p)
	}
}

// fail takes a node out of the view that vanished.
func (c *Core) fail(p *node) {
	c.makeRoom()
	c.roster.turn(p, failed, c.now)
	c.note(NoteFailed, p, "", 1, "")
	c.departAt = min(c.departAt, c.now+departedFor)
	c.gone(p, tellDeparted)
	c.unaskable(p)
}

// gone does what follows when a member is in the view no more. Its last numbers
// are told to the others for some heartbeats.
func (c *Core) gone(p *node, tell int) {
	c.changed = true
	p.tell = tell
	p.view, p.full, p.dispute = ViewDigest{}, 0, dispute{}
	c.notSteady(p)
	c.heardByMost() // what it held of this node counts no more
	c.joined = slices.DeleteFunc(c.joined, func(q *node) bool { return p == q })
	c.searchReady()
}

// unaskable has others asked for what the node cannot give any more.
func (c *Core) unaskable(p *node) {
	c.asked.silent(c, p.Instance)
	for _, s := range sortedStreams(p.streams) {
		c.holes.note(s, c.now)
	}
}

// makeRoom forgets the node that has been gone the longest, if there are too
// many.
func (c *Core) makeRoom() {
	for c.roster.full(left) {
		c.forget(c.roster.oldest(left, failed))
	}
}

// forget knows a node no more.
func (c *Core) forget(p *node) {
	for _, s := range sortedStreams(p.streams) {
		c.dropStream(s)
	}
	for _, s := range sortedStreams(p.former) {
		c.dropStream(s)
	}
	c.roster.remove(p)
}

// onGoodbye notes that a node has left, and what it said last.
func (c *Core) onGoodbye(from string, g *Goodbye) {
	p := c.roster.get(from)
	if p == nil {
		if p = c.meet(Member{Instance: from}); p == nil {
			return
		}
	}
	if g.Incarnation < p.incarnation || !c.believe(p, g.Incarnation, max(g.Count, p.count+1), true) {
		return
	}
	p.count, p.heardAt = max(p.count, g.Count), c.now
	for _, l := range g.Numbers {
		c.announced(p, p.incarnation, l)
	}
	if c.transport.Native {
		c.part(p, left)
		return
	}
	c.leave(p, left)
}

// tickMembers does what is due in the lives of members.
func (c *Core) tickMembers() {
	if c.now >= c.listAt {
		c.answerHello()
	}
	if c.now >= c.joinedAt {
		c.compareJoined()
	}
	if c.now < c.departAt {
		return
	}
	c.departAt = Never
	for _, p := range slices.Clone(c.roster.all) {
		limit := Never
		switch {
		case p.listed && p.parts > 0 && c.link != down:
			if limit = p.parts; c.now >= limit {
				c.relist(p)
				continue
			}
		case p.departed() || p.life == leaving:
			limit = wholeSecond(p.since + max(departedFor, c.transport.Copies))
		case p.life == stranger:
			limit = wholeSecond(max(p.since, p.heardAt) + strangerFor)
		case p.life == live && p.unlisted > 0 && c.transport.Native && c.link != down:
			if limit = p.unlisted; c.now >= limit {
				p.unlisted = 0
				if p.lacking {
					c.fail(p)
				}
				continue
			}
		}
		if c.now >= limit {
			c.forget(p)
			continue
		}
		c.departAt = min(c.departAt, limit)
	}
}

// wholeSecond returns the next whole second: many that came one after the other are
// forgotten at once.
func wholeSecond(at time.Duration) time.Duration { return (at + time.Second).Truncate(time.Second) }

// tellAgain has the others told what a node said last that was gone before: some may
// not have heard it.
func (c *Core) tellAgain(p *node) {
	if p.departed() && p.member {
		p.tell = tellDeparted
		c.tellMark()
	}
}

func (c *Core) nextMembers() time.Duration { return min(c.listAt, c.joinedAt, c.departAt) }
