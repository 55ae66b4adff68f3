package core

import (
	"slices"
	"time"
)

// onHeartbeat takes in that another node lives.
func (c *Core) onHeartbeat(from string, h *Heartbeat) {
	h.Member.Instance = from
	if !validMember(h.Member) {
		c.reject(from, "member")
		return
	}
	p := c.roster.get(from)
	if p == nil {
		if p = c.meet(h.Member); p == nil {
			return
		}
	}
	if !c.believe(p, h.Incarnation, h.Count, h.Leaving) {
		return
	}
	wasWhole, wasKnown, wasLive := p.known && p.worth == Whole, p.known, p.life == live
	p.count, p.ignored, p.numbered = h.Count, 0, true
	p.heardAt = c.now
	c.learnWorth(p, h.Worth, h.KeySet)
	c.learnMember(p, h.Member)
	for _, l := range h.Numbers {
		c.announced(p, p.incarnation, l)
	}
	for _, d := range h.Departed {
		c.onDeparted(p, d)
	}
	switch {
	case c.transport.Native: // the list alone decides who is present
		p.beat.Beat(h.Interval, c.cfg.Heartbeat)
		if h.Leaving {
			p.goodbye = c.now
		}
	case h.Leaving:
		c.leave(p, leaving)
	default:
		p.beat.Beat(h.Interval, c.cfg.Heartbeat)
		c.appear(p)
	}
	if p.life == live {
		c.seeView(p, h.View)
		if !wasWhole && h.Worth == Whole {
			c.searchReady()
		}
		if h.Worth == Whole && (!wasKnown || !wasLive) {
			c.meetWhole(p)
		}
	}
	if h.Hello {
		c.oweList(p)
	}
}

// believe reports whether a heartbeat or goodbye with this incarnation and count
// is news of the peer, and moves the peer on to the incarnation.
func (c *Core) believe(p *peer, incarnation uint32, count uint64, leaves bool) bool {
	switch {
	case !p.numbered && incarnation < p.incarnation: // what others said of it gives way
		c.advance(p, incarnation)
	case incarnation > p.incarnation && incarnation-p.incarnation > maxRaise:
		c.reject(p.Instance, "incarnation")
		return false
	case incarnation > p.incarnation:
		c.advance(p, incarnation)
	case incarnation < p.incarnation, count <= p.count, p.life == left, p.life == leaving && !leaves:
		c.ignore(p, count)
		return false
	}
	return true
}

// ignore notes a heartbeat that is not believed. Old ones come again, in any
// order. But one that goes on for longer than a silence is allowed to be is of a
// node that lives, and that something false is believed of: it is told.
func (c *Core) ignore(p *peer, count uint64) {
	if c.link == down || c.link == unheard {
		p.ignored = 0 // what a bus hands over at first may be a backlog
		return
	}
	before := p.ignoredN
	p.ignoredN = count
	if p.ignored > 0 && count <= before {
		return
	}
	if p.ignored > 0 && c.now-p.ignoredAt < c.cfg.Heartbeat/2 {
		return // a backlog comes all at once
	}
	p.ignored++
	p.ignoredAt = c.now
	quiet := max(p.heardAt, p.since)
	if p.ignored < voidAfter || c.now-quiet < 4*c.cfg.Heartbeat || !c.voids.take(c.now, 1) {
		return
	}
	p.ignored = 0
	c.send("", &Void{Instance: p.Instance, Incarnation: p.incarnation})
}

// advance moves a peer on to a higher incarnation. Its numbers begin anew; the
// former ones stay known, for late updates.
func (c *Core) advance(p *peer, incarnation uint32) {
	for _, s := range sortedStreams(p.former) {
		c.dropStream(s)
	}
	for _, s := range sortedStreams(p.streams) {
		c.giveUp(s, s.missing)
	}
	p.former, p.streams = p.streams, map[string]*stream{}
	p.incarnation, p.count, p.ignored = incarnation, 0, 0
	if p.life == left || p.life == leaving {
		c.roster.turn(p, stranger, c.now)
	}
}

// meet makes a peer known that was not.
func (c *Core) meet(m Member) *peer {
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

// learnMember takes in what a peer says of itself.
func (c *Core) learnMember(p *peer, m Member) {
	if equalMembers(p.Member, m) {
		return
	}
	if p.numbered && p.Name != "" && p.Name != m.Name && p.life == live {
		c.reject(p.Instance, "name") // the name belongs to the instance
		return
	}
	updated := p.life == live
	c.roster.describe(p, m)
	if updated {
		c.changed = true
		c.note(NoteUpdated, p, "", 1, "")
	}
}

// learnWorth takes in what an exchange with the peer is worth.
func (c *Core) learnWorth(p *peer, w Worth, keySet uint64) {
	p.worth, p.known = w, true
	if p.keySet != keySet {
		p.keySet, p.lacks = keySet, nil
	}
}

// appear makes a peer a member of the view.
func (c *Core) appear(p *peer) {
	if p.life == live {
		return
	}
	if c.roster.full(live) {
		c.note(NoteLimited, p, "", 1, "members")
		return
	}
	returned := p.life == failed
	c.roster.turn(p, live, c.now)
	p.tell, p.goodbye = 0, 0
	c.changed = true
	c.note(NoteJoined, p, "", 1, "")
	c.steadySoon(p)
	for _, s := range sortedStreams(p.streams) {
		if returned {
			s.reopen()
		}
		c.holes.note(s, c.now+reorderDelay)
	}
	if !p.foreign() {
		c.joinedPeer()
	}
}

// leave takes a peer out of the view that leaves by its own will.
func (c *Core) leave(p *peer, how life) {
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

// fail takes a peer out of the view that vanished.
func (c *Core) fail(p *peer) {
	c.makeRoom()
	c.roster.turn(p, failed, c.now)
	c.note(NoteFailed, p, "", 1, "")
	c.departAt = min(c.departAt, c.now+departedFor)
	c.gone(p, tellDeparted)
	c.unaskable(p)
}

// gone does what follows when a member is in the view no more. Its last numbers
// are told to the others for some heartbeats.
func (c *Core) gone(p *peer, tell int) {
	c.changed = true
	p.tell = tell
	p.view, p.dispute = ViewDigest{}, dispute{}
	c.notSteady(p)
	c.joined = slices.DeleteFunc(c.joined, func(q *peer) bool { return p == q })
	c.searchReady()
}

// unaskable has others asked for what the peer cannot give any more.
func (c *Core) unaskable(p *peer) {
	c.asked.silent(c, p.Instance)
	for _, s := range sortedStreams(p.streams) {
		c.holes.note(s, c.now)
	}
}

// makeRoom forgets the peer that has been gone the longest, if there are too
// many.
func (c *Core) makeRoom() {
	for c.roster.full(left) {
		c.forget(c.roster.oldest(left, failed))
	}
}

// forget knows a peer no more.
func (c *Core) forget(p *peer) {
	for _, s := range sortedStreams(p.streams) {
		c.dropStream(s)
	}
	for _, s := range sortedStreams(p.former) {
		c.dropStream(s)
	}
	c.roster.remove(p)
}

// onGoodbye takes in that a peer has left, and what it said last.
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
	if c.transport.Native && p.life == live {
		p.goodbye = c.now
		return
	}
	c.leave(p, left)
}

// onDeparted takes in the last numbers of somebody who has gone, as another
// member tells them.
func (c *Core) onDeparted(teller *peer, d Departed) {
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

// onVoid takes in that somebody holds this node for gone.
func (c *Core) onVoid(p *peer, v *Void) {
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
		st.assigned = st.kept.renumber()
		st.sent, st.earlier, st.former = st.assigned, [2]mark{}, 0
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

// onOwnMessage takes in a message in this node's own name: an echo, or a lie.
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

// oweList has a hello answered, by the lowest member and, if that one does not,
// by the next.
func (c *Core) oweList(asker *peer) {
	if c.link != attached && c.link != catchingUp || c.closing {
		return
	}
	if c.listAt == Never {
		c.listOwed, c.listFor = c.now, asker
	}
	c.listAt = min(c.listAt, c.now+listDelay)
}

// answerHello says who the members are, unless that is a lower one's to do first.
func (c *Core) answerHello() {
	rank := 0
	ready := c.worth() != Joining
	for _, p := range c.roster.live {
		switch {
		case p == c.listFor || p.foreign():
		case !ready && p.known && p.worth != Joining, compareMembers(p.Member, c.cfg.Self) < 0 && (!ready || p.worth != Joining):
			rank++
		}
	}
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
	if to == "" && len(l.Members) > 1 {
		c.hello = 0 // it knows who is there
	}
	c.send(to, l)
}

// onMemberList takes in who another node says that the members are. Who has just
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
	if l.To == "" {
		c.listAt, c.listFor = Never, nil
		c.hello = 0
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
	if p = c.roster.get(from); p != nil && l.To == c.cfg.Self.Instance {
		c.seeList(p, l, lists)
	}
}

// rumour takes in that another node speaks of a member that this one has not
// heard of. It revives nobody who is known to be gone.
func (c *Core) rumour(m ListMember) {
	p := c.roster.get(m.Member.Instance)
	if p == nil && m.Incarnation <= maxRaise {
		p = c.meet(m.Member)
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
func (c *Core) onListRequest(p *peer, r *ListRequest) {
	if r.To == c.cfg.Self.Instance && p != nil && p.present() {
		c.sendList(p.Instance)
	}
}

// onList takes in the transport's own list.
func (c *Core) onList(all []Member) {
	c.list, c.hasList = all, true
	if c.link != down {
		c.applyList()
	}
}

// applyList makes the transport's list the view's: it alone decides who is
// present.
func (c *Core) applyList() {
	all := c.list
	listed := make(map[*peer]bool, len(all))
	for _, m := range all {
		if m.Instance == c.cfg.Self.Instance {
			if m.Addr != "" && m.Addr != c.cfg.Self.Addr {
				c.cfg.Self.Addr, c.changed = m.Addr, true
			}
			continue
		}
		p := c.roster.get(peerID(m))
		if p == nil {
			p = c.roster.add(m)
			p.since = c.now
		}
		listed[p] = true
		if p.still {
			continue // a list from before it left
		}
		p.unlisted, p.excused = 0, false
		if p.life != live {
			p.Member = m
			if p.life == left {
				p.count = 0 // its node goes on with another driver
			}
			p.beat.Announced(c.cfg.Heartbeat, c.cfg.Heartbeat)
			returned := p.departed()
			c.appear(p)
			if returned && c.link != down { // what was said meanwhile is told by a mark, and compared
				c.markAt = min(c.markAt, c.now+markDelay)
				if p.worth == Whole {
					c.meetWhole(p)
				}
			}
		} else if !equalMembers(p.Member, m) {
			c.roster.describe(p, m)
			c.changed = true
			c.note(NoteUpdated, p, "", 1, "")
		}
	}
	for _, p := range slices.Clone(c.roster.all) {
		if !listed[p] {
			p.still = false
		}
		if p.life == live && !listed[p] && c.now >= p.unlisted {
			c.unlist(p)
		}
	}
	if c.link == attached && len(listed) == 0 {
		c.aloneNow()
	}
}

// unlist drops a member that the transport's list lacks.
func (c *Core) unlist(p *peer) {
	if p.goodbye > 0 {
		c.leave(p, left)
		return
	}
	c.fail(p)
}

// onLeft takes in that the transport says that a member left.
func (c *Core) onLeft(m Member) {
	if p := c.roster.get(peerID(m)); p != nil && p.life == live {
		c.leave(p, left)
		p.still = true
	}
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
		case p.departed() || p.life == leaving:
			limit = p.since + max(departedFor, c.transport.Copies)
		case p.life == stranger:
			limit = max(p.since, p.heardAt) + strangerFor
		case p.life == live && p.unlisted > 0 && c.transport.Native && c.link != down:
			if limit = p.unlisted; c.now >= limit {
				p.unlisted = 0
				c.fail(p)
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

func (c *Core) nextMembers() time.Duration { return min(c.listAt, c.joinedAt, c.departAt) }
