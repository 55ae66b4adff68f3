package core

import (
	"time"
)

// Assign gives the update data of key its number. It is called in the order in
// which updates are queued for sending. A copy of data is kept, to be sent again
// to who missed it.
func (c *Core) Assign(key string, data []byte) (incarnation uint32, number uint64) {
	st := c.states[key]
	if st == nil {
		return c.incarnation, 0
	}
	st.assigned++
	st.version++
	c.keptAll += st.kept.add(c.now, st.assigned, data)
	if c.keptAll > keptTotal {
		c.trimKept(st)
	}
	return c.incarnation, st.assigned
}

// trimKept lets go of what other keys keep, the largest first, and of this one's
// at last.
func (c *Core) trimKept(but *state) {
	for c.keptAll > keptTotal {
		largest := but
		for _, st := range c.keys {
			if st != but && (largest == but || len(st.kept.ring) > len(largest.kept.ring)) && st.kept.size > 0 {
				largest = st
			}
		}
		if largest == but {
			return
		}
		c.keptAll -= largest.kept.clear()
	}
}

// Sent says that every update of key up to number has been handed to the driver,
// or was dropped after those before it had been. The others are told these
// numbers.
func (c *Core) Sent(now time.Duration, key string, number uint64) (wake bool) {
	st := c.states[key]
	if st == nil || number <= st.sent {
		return false
	}
	c.begin(now)
	st.sentUp(c.now, min(number, st.assigned))
	c.tellSoon(st)
	at := c.now + markDelay
	earlier := at < c.wakeAt
	c.markAt = at
	if earlier {
		c.wakeAt = at
	}
	return earlier
}

// Receive notes that an update of origin arrived, and says what is to become
// of it. After Deliver the shell queues it and calls Queued.
func (c *Core) Receive(now time.Duration, origin, key []byte, incarnation uint32, number uint64) (v Verdict, r Ref, wake bool) {
	if number == 0 || number > maxNumber {
		return Refused, Ref{}, false
	}
	p := c.roster.byID[string(origin)]
	if p == nil {
		if string(origin) == c.cfg.Self.Instance {
			return c.receiveOwn(now, key, incarnation, number)
		}
		return c.receiveStranger(now, origin, key, incarnation, number)
	}
	streams := p.streams
	if incarnation != p.incarnation {
		if p.former == nil || incarnation != p.formerly {
			return c.untracked(key), Ref{}, false // in doubt it is merged
		}
		streams = p.former
	}
	s := streams[string(key)]
	if s == nil {
		if s = c.newStream(now, p, streams, key, incarnation, number); s == nil {
			return c.untracked(key), Ref{}, false
		}
	}
	if s.has(number) {
		return Duplicate, Ref{}, false
	}
	p.heard(now)
	return Deliver, Ref{s, number}, false
}

// untracked is the verdict on an update of which no account is kept.
func (c *Core) untracked(key []byte) Verdict {
	if c.states[string(key)] == nil {
		return Unknown
	}
	return Deliver
}

// receiveOwn handles an update in this node's own name: its own, that a bus
// hands back, or one that somebody forged.
func (c *Core) receiveOwn(now time.Duration, key []byte, incarnation uint32, number uint64) (Verdict, Ref, bool) {
	st := c.states[string(key)]
	if incarnation > c.incarnation || st != nil && incarnation == c.incarnation && number > st.assigned {
		c.begin(now)
		c.raise(incarnation, "an update that this node did not send")
		c.end()
		return Own, Ref{}, true
	}
	return Own, Ref{}, false
}

// receiveStranger handles an update of a node that is not known yet.
func (c *Core) receiveStranger(now time.Duration, origin, key []byte, incarnation uint32, number uint64) (Verdict, Ref, bool) {
	if len(origin) == 0 || len(origin) > maxInstanceBytes || len(key) > maxKeyBytes {
		return Refused, Ref{}, false
	}
	c.begin(now)
	defer c.end()
	p := c.meet(Member{Instance: string(origin)})
	if p == nil {
		return c.untracked(key), Ref{}, true
	}
	p.incarnation, p.heardAt = incarnation, now
	s := c.newStream(now, p, p.streams, key, incarnation, number)
	if s == nil {
		return c.untracked(key), Ref{}, true
	}
	return Deliver, Ref{s, number}, true
}

// Queued says whether there was room for a received update in its state's queue.
// What there was no room for is missing, and is asked for later.
func (c *Core) Queued(now time.Duration, r Ref, ok bool) (wake bool) {
	s := r.stream
	if s == nil {
		return false
	}
	if ok {
		s.state.pending++
	}
	if s.gone {
		return false
	}
	before := s.missing.Count()
	if ok {
		opened := s.queued(r.number)
		if s.node.departed() {
			c.begin(now)
			c.tellAgain(s.node)
			wake = c.markAt < c.wakeAt
			c.wakeAt = min(c.wakeAt, c.markAt)
		}
		if !opened {
			return wake
		}
		return c.opened(now, s, s.missing.Count()-before, reorderDelay) || wake
	}
	st := s.state
	if now-st.fullAt > time.Minute {
		st.overflows = 0
	}
	st.fullAt = now
	s.dropped(r.number)
	pause := min(reorderDelay<<min(st.overflows, 10), maxPause)
	if now < st.fullUntil { // one burst is one overflow
		pause = st.fullUntil - now
	} else {
		st.overflows++
		st.fullUntil = now + pause
	}
	wake = c.opened(now, s, s.missing.Count()-before, pause)
	s.hole.at = now + pause // no sooner, whatever was asked before
	return wake
}

// opened notes that n numbers are missing in a stream that were not before.
func (c *Core) opened(now time.Duration, s *stream, n uint64, pause time.Duration) (wake bool) {
	c.begin(now)
	if !s.node.wasMember() {
		return false
	}
	c.holes.note(s, now+pause)
	if n > 0 {
		c.note(NoteGap, s.node, s.state.key, n, "")
	}
	if c.holes.at < c.wakeAt {
		c.wakeAt = c.holes.at
	}
	return true
}

// UpdateMerged says that the Merge of a queued update has returned. After an
// error the update is not held for merged, and is not asked for again: when it came
// once more it might be out of date, which a comparison of states is not.
func (c *Core) UpdateMerged(now time.Duration, r Ref, err error) (wake bool) {
	s := r.stream
	if s == nil {
		return false
	}
	s.state.pending--
	s.state.merged++
	s.state.version++
	if !s.gone {
		s.merged(r.number, err == nil)
		if err != nil {
			c.note(NoteRefused, s.node, s.state.key, 1, err.Error())
			wake = true
		}
	}
	if c.link == catchingUp && s.state.merged == s.state.backlog {
		c.begin(now)
		c.caughtUp()
		c.end()
		return true
	}
	return wake
}

// announced notes that a node has used all numbers of a key up to one.
func (c *Core) announced(p *node, incarnation uint32, l Last) {
	if l.Number == 0 || l.Number > maxNumber {
		c.reject(p.Instance, "number")
		return
	}
	s := p.streams[l.Key]
	if s == nil {
		if s = c.newStream(c.now, p, p.streams, []byte(l.Key), incarnation, l.Number); s == nil {
			return
		}
	}
	before, top := s.missing.Count(), s.top
	opened := s.raise(l.Number)
	if s.top > top {
		c.tellAgain(p)
	}
	if opened {
		c.opened(c.now, s, s.missing.Count()-before, reorderDelay)
	}
}
