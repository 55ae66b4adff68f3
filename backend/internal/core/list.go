package core

import (
	"slices"
	"time"
)

// oweList has a hello answered, by the lowest member and, if that one does not,
// by the next: the first who asks at once, and all who do meanwhile by one list.
func (c *Core) oweList(asker *node) {
	if c.link != attached && c.link != catchingUp || c.closing {
		return
	}
	if c.listAt == Never {
		c.listOwed, c.listFor = c.now, asker
		if c.transport.Unicast && c.worth() != Joining && c.listRank() == 0 && c.listBudget.spare(c.now) {
			c.sendList(asker.Instance)
		}
	}
	c.listAt = min(c.listAt, c.now+listDelay)
}

// listRank is how many are to answer a hello before this node does, maxStandIns if more.
func (c *Core) listRank() (rank int) {
	if !c.informed { // whoever knows more is to be first
		rank++
	}
	ready := c.worth() != Joining
	for _, p := range c.roster.live {
		if rank >= maxStandIns {
			break
		}
		switch {
		case p == c.listFor || p.foreign():
		case !ready && p.known && p.worth != Joining, compareMembers(p.Member, c.cfg.Self) < 0 && (!ready || p.worth != Joining):
			rank++
		}
	}
	return rank
}

// answerHello says who the members are, unless that is a lower one's to do first.
func (c *Core) answerHello() {
	rank := c.listRank()
	at := c.listOwed + listDelay + time.Duration(rank)*standIn
	switch {
	case rank >= maxStandIns:
		c.listAt, c.listFor = Never, nil
	case c.now < at:
		c.listAt = at
	default:
		c.listAt, c.listFor = Never, nil
		c.sendList("")
	}
}

// sendList says who the members are.
func (c *Core) sendList(to string) {
	if !c.listBudget.take(c.now, 1) {
		c.note(NoteLimited, nil, "", 1, "lists")
		return
	}
	l := &List{To: to, Members: []ListMember{{
		Member: c.cfg.Self, Incarnation: c.incarnation, Count: c.pulse.Count(), Interval: c.interval, Worth: c.worth(), KeySet: c.keySet,
	}}}
	for _, p := range c.roster.live {
		if !p.foreign() {
			l.Members = append(l.Members, ListMember{p.Member, p.incarnation, p.count, p.beat.Interval(), p.worth, p.keySet})
		}
	}
	if to == "" && c.informed {
		c.hello = 0 // it knows who is there
	}
	c.send(to, l)
}

// onMemberList handles who another node says that the members are. Who has just
// said hello believes it, until it hears them itself or they stay silent.
func (c *Core) onMemberList(from string, l *List) {
	if l.To != "" && l.To != c.cfg.Self.Instance {
		return
	}
	p := c.roster.get(from)
	asking := c.helloAt > 0 && c.now-c.helloAt < rumourFor
	if (p == nil || !p.present()) && !asking {
		return
	}
	complete := slices.ContainsFunc(l.Members, func(m ListMember) bool {
		return m.Member.Instance == from && m.Worth != Joining
	})
	if l.To == "" && (complete || c.worth() == Joining) { // a joining member need not know all
		c.listAt, c.listFor = Never, nil
	}
	lists := false
	for _, m := range l.Members {
		if m.Member.Instance == c.cfg.Self.Instance {
			lists = true
			continue
		}
		if asking && validMember(m.Member) {
			c.rumour(m)
		}
	}
	if complete {
		c.informed = true
		if c.hello > 0 {
			c.hello = 0
			c.searchReady()
		}
	}
	if p = c.roster.get(from); p != nil && l.To == c.cfg.Self.Instance {
		c.seeList(p, l, lists)
	}
}

// knowsAll reports whether this node knows who all members are: only then does it
// mean something that all of them lack a state.
func (c *Core) knowsAll() bool {
	if c.transport.Native {
		return c.hasList
	}
	return c.hello == 0
}

// rumour notes that another node speaks of a member that this one has not
// heard of. It revives nobody who is known to be gone.
func (c *Core) rumour(m ListMember) {
	p := c.roster.get(m.Member.Instance)
	if p == nil {
		p = c.meet(m.Member)
	}
	if p != nil && p.life == live && !p.known { // the transport listed it before it said anything
		c.learnWorth(p, m.Worth, m.KeySet)
		if p.worth != Joining {
			c.searchReady()
			c.meetReady(p)
		}
	}
	if p == nil || p.life != stranger || p.numbered {
		return
	}
	if m.Incarnation > p.incarnation {
		c.advance(p, m.Incarnation)
	}
	p.Member = m.Member
	c.learnWorth(p, m.Worth, m.KeySet)
	if c.transport.Native {
		return
	}
	p.beat.Announced(m.Interval, c.cfg.Heartbeat)
	c.appear(p)
}

// onListRequest answers who wants to know whom this node lists.
func (c *Core) onListRequest(p *node, r *ListRequest) {
	if r.To == c.cfg.Self.Instance && p != nil && p.present() {
		c.sendList(p.Instance)
	}
}
