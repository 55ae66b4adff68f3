package core

import (
	"slices"
	"time"
)

// onList handles the transport's own list.
func (c *Core) onList(all []Member) {
	c.list, c.hasList = all, true
	if c.link != down {
		c.applyList()
	}
}

// parting is for how long a member is believed that it leaves while the transport's
// list has it. One that closes says so each second. So a false word costs a view no
// more than this.
const (
	parting      = 3 * time.Second
	partingAgain = time.Second
)

// part takes a member out of the view that says that it leaves. The list has it until
// its transport is closed, and nobody should wait for it until then.
func (c *Core) part(p *node, how life) {
	if p.parting = true; p.life == live || p.life == leaving {
		p.parts = c.now + parting
		c.departAt = min(c.departAt, p.parts)
	}
	c.leave(p, how)
}

// relist makes a member one again that the list has, and that has not left.
func (c *Core) relist(p *node) {
	p.parts, p.still = 0, false
	c.appear(p)
}

// applyList makes the transport's list the view's: it decides who is present, but
// for those who say that they leave it.
func (c *Core) applyList() {
	all := c.list
	listed := make(map[*node]bool, len(all))
	for _, m := range all {
		if m.Instance == c.cfg.Self.Instance {
			if m.Addr != "" && m.Addr != c.cfg.Self.Addr {
				c.cfg.Self.Addr, c.changed = m.Addr, true
			}
			continue
		}
		p := c.roster.get(nodeID(m))
		if p == nil {
			p = c.roster.add(m)
			p.since = c.now
			c.departAt = min(c.departAt, c.now+strangerFor) // if there is no room for it in the view
		}
		listed[p], p.listed = true, true
		if p.still || c.now < p.parts {
			continue // a list from before it left
		}
		p.excused, p.lacking = false, false
		if p.life != live {
			p.Member, p.unlisted = m, 0
			if p.life == left {
				p.count = 0 // its node goes on with another driver
			}
			p.beat.Announced(c.cfg.Heartbeat, c.cfg.Heartbeat)
			returned := p.departed()
			c.appear(p)
			if returned && c.link != down { // what was said meanwhile is told by a mark
				c.markAt = min(c.markAt, c.now+markDelay)
				p.returned = true
			}
		} else if !equalMembers(p.Member, m) {
			c.roster.describe(p, m)
			c.changed = true
			c.note(NoteUpdated, p, "", 1, "")
		}
	}
	for _, p := range slices.Clone(c.roster.all) {
		if listed[p] {
			continue
		}
		p.still, p.listed, p.parts = false, false, 0
		switch {
		case p.life == leaving:
			c.leave(p, left)
		case p.life != live:
		case c.isExcused(p):
			p.lacking = true
		case p.parting:
			c.leave(p, left)
		default:
			c.fail(p)
		}
	}
	if c.link == attached && len(listed) == 0 {
		c.aloneNow()
	}
}

// isExcused reports whether a member is kept though the list lacks it: this node
// was away, and the other need not be back. That it was still listed says nothing,
// since the transport may hold for a while whom it does not hear; a word of it does.
func (c *Core) isExcused(p *node) bool {
	return c.now < p.unlisted && !p.parting && (p.lacking || p.heardAt <= p.unlisted-c.cfg.Grace)
}

// onLeft notes that the transport says that a member left.
func (c *Core) onLeft(m Member) {
	if p := c.roster.get(nodeID(m)); p != nil && (p.life == live || p.life == leaving) {
		c.leave(p, left)
		p.still, p.parts = true, 0
	}
}

// onExchanged notes that the transport's own exchange brought a full state and
// all of it is merged.
func (c *Core) onExchanged(e Exchanged) {
	items := map[string]*AnswerItem{}
	var p *node
	if e.Head != nil {
		p = c.roster.get(e.Head.Instance)
		for i := range e.Head.Items {
			items[e.Head.Items[i].Key] = &e.Head.Items[i]
		}
		if p != nil {
			c.seeView(p, e.Head.View)
		}
	}
	for _, st := range c.keys {
		it := items[st.key]
		switch {
		case slices.Contains(e.Failed, st.key):
		case e.Head == nil:
			if c.onlyForeign() { // there is nobody else to be merged from
				c.becomeReady(st, Synced)
			}
		case !slices.Contains(e.Keys, st.key) || it == nil:
		default:
			c.account(&pullKey{state: st, all: true}, it.Numbers)
			st.version++
			if p != nil && !st.stale { // else it may have waited while this node stood still
				st.compare = false
			}
			c.answeredBy(st, it.Worth)
			c.settleSearch(st)
		}
	}
	c.caughtUp()
}

// onlyForeign reports whether all members speak another protocol.
func (c *Core) onlyForeign() bool {
	n := 0
	for _, p := range c.roster.live {
		if !p.foreign() {
			return false
		}
		if p.life == live {
			n++
		}
	}
	return n > 0
}

// Head returns what a full state of this node says beside the states themselves.
// It is called before they are marshalled, with their keys. The shell fills in
// the digests it knows.
func (c *Core) Head(keys []string) *Head {
	h := &Head{Instance: c.cfg.Self.Instance, View: c.viewDigest()}
	for _, key := range keys {
		if st := c.states[key]; st != nil {
			h.Items = append(h.Items, AnswerItem{
				Key: key, Outcome: Data, Worth: c.worthOf(st), Numbers: c.numbersFor(st, PullItem{Key: key, All: true}),
			})
		}
	}
	return h
}
