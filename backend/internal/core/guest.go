package core

import (
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// guest is a walk of another member through the entries that a state of this node
// had when it was asked. What comes meanwhile changes nothing of it, so that the
// numbers that were told then stay true.
type guest struct {
	node    *node
	id      uint64 // of the pull
	state   *state
	view    *reconcile.View
	version uint64 // of the state, if only this guest has changed it
	digest  uint64 // of the state as of that version
	began   time.Duration
	until   time.Duration // when it is forgotten
	asked   *Walk         // the step that is being answered
	at      time.Duration // when it may be, by the budget; Never: it is looked up
	refused int           // of the entries of that step
}

// admit lets the asker walk through a view of a state. It reports whether there is room.
func (a *answered) admit(c *Core, asker Asker, st *state, m Marshalled) bool {
	p := c.roster.get(asker.Instance)
	a.guests = slices.DeleteFunc(a.guests, func(g *guest) bool { return g.node == p && g.state == st })
	if len(a.guests) >= maxGuests {
		c.note(NoteLimited, p, st.key, 1, "guests")
		return false
	}
	a.guests = append(a.guests, &guest{
		node: p, id: asker.ID, state: st, view: m.View, version: st.version, digest: m.Digest, began: c.now, until: c.now + guestFor, at: Never,
	})
	return true
}

// onWalk handles a step of another member.
func (a *answered) onWalk(c *Core, from string, p *node, m *Walk) {
	switch {
	case m.To == "":
		c.reject(from, "walk")
		return
	case m.To != c.cfg.Self.Instance || p == nil || !p.present():
		return
	}
	p.heard(c.now)
	i := slices.IndexFunc(a.guests, func(g *guest) bool { return g.node == p && g.id == m.ID && g.state.key == m.Key })
	switch {
	case i < 0 && a.starts.take(c.now, 1):
		c.send(p.Instance, &Walked{For: Asker{p.Instance, m.ID}, Key: m.Key, Step: m.Step, Outcome: Lacking})
	case i >= 0 && a.guests[i].asked == nil: // else it was said again
		g := a.guests[i]
		g.asked, g.until, g.at = m, c.now+guestFor, a.bytes.next(c.now)
		if c.now >= g.at {
			a.lead(c, g)
		}
	}
}

// tickGuests leads those on for whom there is a budget again, and forgets those that
// come no more.
func (a *answered) tickGuests(c *Core) {
	a.guests = slices.DeleteFunc(a.guests, func(g *guest) bool { return c.now >= g.until || g.state.gone })
	for _, g := range slices.Clone(a.guests) {
		if c.now < g.at {
			continue
		}
		if at := a.bytes.next(c.now); c.now < at {
			g.at = at // another one was first
			continue
		}
		a.lead(c, g)
	}
}

// nextGuest returns when tickGuests is to be called.
func (a *answered) nextGuest() time.Duration {
	at := Never
	for _, g := range a.guests {
		at = min(at, g.at, g.until)
	}
	return at
}

// lead answers a step. What it brings is merged before.
func (a *answered) lead(c *Core, g *guest) {
	m := g.asked
	g.at = Never
	if len(m.Entries) == 0 {
		a.lookUp(c, g, m)
		return
	}
	if !a.pushes.take(c.now, 1) {
		c.note(NoteLimited, g.node, m.Key, 1, "pushes")
		a.say(c, g, m, &Walked{Outcome: Later})
		return
	}
	job := c.job(nil, func(e Event) {
		r, ok := e.(Merged)
		if !ok || g.state.gone {
			return
		}
		if r.Full {
			a.say(c, g, m, &Walked{Outcome: Later})
			return
		}
		if g.asked == m {
			g.refused = r.Refused
		}
		if r.Refused > 0 {
			c.note(NoteRefused, g.node, m.Key, uint64(r.Refused), r.Err.Error())
		}
		a.given(c, g, r)
		a.lookUp(c, g, m)
	})
	c.emit(Merge{Job: job, Key: m.Key, Entries: m.Entries, Home: m.Home, Digest: !m.More})
}

// given notes that entries of a guest were merged. What is news for this node is told
// to others.
func (a *answered) given(c *Core, g *guest, r Merged) {
	st := g.state
	if st.version == g.version {
		g.version++
	}
	st.version++
	if !r.HasDigest || st.version != g.version {
		return
	}
	st.hasDigest(r.Digest, true)
	if r.Digest != g.digest && c.isReady(st) {
		c.spread(st)
	}
	g.digest = r.Digest
}

// lookUp answers what a step asks for.
func (a *answered) lookUp(c *Core, g *guest, m *Walk) {
	if g.asked != m || g.state.gone {
		return
	}
	found, err := g.view.Find(&m.Ask)
	if err != nil {
		c.reject(g.node.Instance, "walk")
		a.say(c, g, m, &Walked{Outcome: Later})
		return
	}
	a.bytes.spend(c.now, 8*(found.Looked+len(found.Prints)))
	if len(found.IDs) == 0 {
		a.say(c, g, m, &Walked{Outcome: Apart, Reply: found.Reply})
		return
	}
	job := c.job(nil, func(e Event) {
		f, ok := e.(Fetched)
		if !ok || f.Err != nil || f.Taken <= 0 {
			a.say(c, g, m, &Walked{Outcome: Later})
			return
		}
		found.Cut(f.Taken)
		a.say(c, g, m, &Walked{Outcome: Apart, Reply: found.Reply, Entries: f.Entries, Gone: len(f.Entries) < f.Taken})
	})
	c.emit(Fetch{Job: job, Key: m.Key, IDs: found.IDs, Room: int(max(roomLeast, min(roomMost, m.Room)))})
}

// say sends the answer to a step, if it is still waited for.
func (a *answered) say(c *Core, g *guest, m *Walk, answer *Walked) {
	if g.asked != m || !slices.Contains(a.guests, g) {
		return
	}
	g.asked, g.at, g.until = nil, Never, c.now+guestFor
	if n := SizeOf(answer.Entries); n > 0 {
		a.bytes.spend(c.now, n)
		c.note(NoteAnswered, g.node, m.Key, uint64(n), "")
	}
	answer.Refused, g.refused = uint64(g.refused), 0
	answer.For, answer.Key, answer.Step = Asker{g.node.Instance, g.id}, m.Key, m.Step
	c.send(g.node.Instance, answer)
}
