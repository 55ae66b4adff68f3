package core

import (
	"slices"
	"time"
)

// ownView is the digest of who has been steady, this node included.
type ownView struct {
	digest    ViewDigest
	changedAt time.Duration
	at        time.Duration // when somebody may become steady
}

// dispute is a disagreement with one node's view.
type dispute struct {
	since   time.Duration // when its digest began to differ; 0: it does not
	asked   time.Duration // when its list was asked for
	pause   time.Duration
	named   bool
	without []string // instances that its view lacks and this one has
	more    []string // and the other way round
}

// lacksSelf reports whether the node's view lacks this node.
func (d *dispute) lacksSelf(self string) bool { return d.named && slices.Contains(d.without, self) }

// steadyFor is how long a member must have been in the view to count for its
// digest: views that are only not at rest do not differ.
func (c *Core) steadyFor(p *node) time.Duration {
	return steadyBeats * max(p.beat.Interval(), c.cfg.Heartbeat)
}

func (c *Core) steadySoon(p *node) { c.self.at = min(c.self.at, c.now+c.steadyFor(p)) }

func (c *Core) notSteady(p *node) {
	if p.steady {
		p.steady, c.self.changedAt = false, c.now
		c.self.digest.Hash ^= hashOf(p.Instance)
		c.self.digest.Count--
		c.self.at = min(c.self.at, c.now)
	}
}

// viewDigest returns the digest of this node's view.
func (c *Core) viewDigest() ViewDigest {
	return ViewDigest{c.self.digest.Hash ^ hashOf(c.cfg.Self.Instance), c.self.digest.Count + 1}
}

// seeView handles the digest of a node's view.
func (c *Core) seeView(p *node, d ViewDigest) {
	if d.Count == 0 || p.life != live {
		return
	}
	p.view = d
	if d == c.viewDigest() {
		c.agree(p)
		return
	}
	if p.dispute.since == 0 {
		p.dispute.since = c.now
	}
	if c.outlasts(p) && c.link != down && c.link != unheard {
		c.compareViews(p)
	}
}

// patience is for how long views may differ before that means something.
func (c *Core) patience(p *node) time.Duration { return disputeAfter * c.steadyFor(p) }

// outlasts reports whether the disagreement has lasted for longer than views
// that are only not at rest can differ.
func (c *Core) outlasts(p *node) bool {
	return p.dispute.since > 0 && c.now >= max(p.dispute.since, c.self.changedAt)+c.patience(p)
}

// agree ends a disagreement.
func (c *Core) agree(p *node) {
	named := p.dispute.named
	p.dispute = dispute{}
	if named {
		c.changed = true
		c.note(NoteAgreed, p, "", 1, "")
		c.heardByMost()
		if c.link != down { // it may not know yet
			c.markAt = min(c.markAt, c.now+markDelay)
		}
	}
}

// tickDisputes lets members become steady.
func (c *Core) tickDisputes() {
	if c.now < c.self.at {
		return
	}
	c.self.at = Never
	changed := false
	for _, p := range c.roster.all {
		if p.life != live || p.foreign() || p.steady {
			continue
		}
		if at := p.since + c.steadyFor(p); c.now < at {
			c.self.at = min(c.self.at, max(at, c.now+c.cfg.Heartbeat)) // some at once
			continue
		}
		p.steady, c.self.changedAt, changed = true, c.now, true
		if p.returned { // marks are rare, and it may hold that this node does not hear it
			p.returned = false
			c.markAt = min(c.markAt, c.now+markDelay)
		}
		c.self.digest.Hash ^= hashOf(p.Instance)
		c.self.digest.Count++
	}
	c.agreeNow()
	if changed { // what was in doubt may be so no more
		for _, p := range c.roster.live {
			p.dispute.asked, p.dispute.pause = 0, 0
		}
	}
	c.askAgain()
}

// askAgain asks for the lists of those whose views are named as differing, where
// heartbeats are rare: they may have come to agree since the last one.
func (c *Core) askAgain() {
	if !c.transport.Native || c.link == down {
		return
	}
	for _, p := range c.roster.live {
		if p.dispute.named {
			c.askList(p)
			c.self.at = min(c.self.at, max(p.dispute.asked+p.dispute.pause, c.now+firstPause))
		}
	}
}

// agreeNow ends the disagreements that a change of this node's view has ended.
func (c *Core) agreeNow() {
	for _, p := range c.roster.live {
		if p.dispute.since > 0 && p.view == c.viewDigest() {
			c.agree(p)
		}
	}
}

// compareViews finds out in whom two views differ: by the digests alone where
// that is one member, else by asking for the other's list.
func (c *Core) compareViews(p *node) {
	mine := c.viewDigest()
	diff := mine.Hash ^ p.view.Hash
	if mine.Count == p.view.Count+1 {
		if id, ok := c.steadyWith(diff); ok && id != p.Instance {
			c.differ(p, []string{id}, nil)
			return
		}
	}
	c.askList(p)
}

// askList asks a node for its list, with a back-off.
func (c *Core) askList(p *node) {
	d := &p.dispute
	if d.pause == 0 {
		d.pause = firstPause
	}
	if d.asked > 0 && c.now < d.asked+d.pause {
		return
	}
	for _, q := range c.roster.all { // one list a view that differs
		if q != p && q.life == live && q.view == p.view && q.dispute.asked > 0 && c.now < q.dispute.asked+q.dispute.pause {
			return
		}
	}
	d.asked, d.pause = c.now, min(2*d.pause, maxPause)
	c.send(p.Instance, &ListRequest{To: p.Instance})
}

// steadyWith returns the steady member whose hash that is, this node included.
func (c *Core) steadyWith(hash uint64) (instance string, ok bool) {
	if hash == hashOf(c.cfg.Self.Instance) {
		return c.cfg.Self.Instance, true
	}
	for _, p := range c.roster.all {
		if p.steady && hashOf(p.Instance) == hash {
			return p.Instance, true
		}
	}
	return "", false
}

// seeList handles the list of a node whose view differs.
func (c *Core) seeList(p *node, l *List, listsSelf bool) {
	if !c.outlasts(p) && !p.dispute.named {
		return
	}
	theirs := map[string]bool{p.Instance: true}
	for _, m := range l.Members {
		theirs[m.Member.Instance] = true
	}
	var without, more []string
	if !listsSelf {
		without = append(without, c.cfg.Self.Instance)
	}
	for _, q := range c.roster.all {
		switch {
		case q.steady && !theirs[q.Instance]:
			without = append(without, q.Instance)
		case q.life == live:
			delete(theirs, q.Instance)
		}
	}
	for _, m := range l.Members {
		if id := m.Member.Instance; theirs[id] && id != c.cfg.Self.Instance && id != p.Instance && validMember(m.Member) {
			more = append(more, m.Member.Name)
		}
	}
	c.differ(p, without, more)
}

// differ names a disagreement.
func (c *Core) differ(p *node, without, more []string) {
	d := &p.dispute
	if len(without)+len(more) == 0 {
		c.agree(p)
		return
	}
	if d.named && slices.Equal(d.without, without) && slices.Equal(d.more, more) {
		return
	}
	d.named, d.without, d.more = true, without, more
	c.self.at = min(c.self.at, c.now+firstPause)
	c.changed = true
	for _, text := range c.disputesWith(p) {
		c.note(NoteDisputed, p, "", 1, text)
	}
	c.heardByMost()
}

// heardByMost makes a node Detached while more than half of the others lack it.
func (c *Core) heardByMost() {
	if c.transport.Native {
		return // its list alone decides who is present
	}
	lack, others := 0, 0
	for _, p := range c.roster.live {
		if !p.foreign() {
			others++
			if p.dispute.lacksSelf(c.cfg.Self.Instance) {
				lack++
			}
		}
	}
	switch {
	case 2*lack > others && c.link == attached:
		c.note(NoteDetached, nil, "", uint64(lack), ErrUnlisted.Error())
		c.setLink(unlisted, ErrUnlisted)
		if lack > 1 {
			c.emit(Reopen{ErrUnlisted})
		}
	case 2*lack <= others && c.link == unlisted:
		c.startCatchUp(0)
	}
}

// disputed describes all disagreements, for people.
func (c *Core) disputed() (texts []string) {
	for _, p := range c.roster.live {
		if p.dispute.named {
			texts = append(texts, c.disputesWith(p)...)
		}
	}
	slices.Sort(texts)
	return texts[:min(len(texts), maxNamed)]
}

func (c *Core) disputesWith(p *node) (texts []string) {
	for _, id := range p.dispute.without {
		if id == c.cfg.Self.Instance {
			texts = append(texts, p.Name+" does not hear this node")
		} else if q := c.roster.get(id); q != nil {
			texts = append(texts, p.Name+" does not hear "+q.Name)
		}
	}
	for _, name := range p.dispute.more {
		texts = append(texts, "this node does not hear "+name+", which "+p.Name+" hears")
	}
	return texts[:min(len(texts), maxNamed)]
}
