package core

import (
	"slices"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// beatNow sends a heartbeat.
func (c *Core) beatNow() {
	if c.closed {
		return
	}
	if !c.transport.Native {
		// No more than twice as long: who missed the heartbeat that said so waits for four of the former.
		c.interval = min(heartbeat.Interval(c.cfg.Heartbeat, c.roster.settled()+1), 2*c.interval)
	}
	h := &Heartbeat{
		Member: c.cfg.Self, Incarnation: c.incarnation, Count: c.pulse.Beat(c.now), Interval: c.interval,
		Leaving: c.closing, Alone: c.transport.Unicast, Brief: true, Worth: c.worth(), KeySet: c.keySet, View: c.viewDigest(),
		Departed: c.departed(),
	}
	if c.hello > 0 && !c.closing {
		h.Hello = true
		c.hello--
		c.informed = c.informed || c.hello < helloTimes-1
		c.helloAt = c.now
	}
	if c.saysNothingNew(h) {
		h = &Heartbeat{Incarnation: h.Incarnation, Count: h.Count, Like: c.full.Count, Numbers: c.numbers(0), Departed: h.Departed}
	} else {
		h.Numbers = c.numbers(tellIdle)
		c.full = h
	}
	c.markAt = Never
	c.nextBeat = c.now + c.beatPause()
	c.send("", h)
}

// saysNothingNew reports whether a heartbeat may be a short one: an earlier one said the
// same, not long ago, and all members understand that.
func (c *Core) saysNothingNew(h *Heartbeat) bool {
	w := c.full
	if w == nil || h.Hello || h.Leaving || c.transport.Native || w.Incarnation != h.Incarnation || h.Count-w.Count >= fullEvery {
		return false
	}
	if w.Interval != h.Interval || w.Alone != h.Alone || w.Worth != h.Worth || w.KeySet != h.KeySet || w.View != h.View {
		return false
	}
	return !slices.ContainsFunc(c.roster.live, func(p *node) bool { return !p.brief && !p.foreign() })
}

// completed returns what a short heartbeat of a node stands for, as far as it is known:
// the view only if this node heard the one that told it. It is nil if nothing is.
func (c *Core) completed(p *node, h *Heartbeat) *Heartbeat {
	if p == nil || !p.known || h.Like == p.doubted {
		return nil
	}
	w := *h
	w.Member, w.Interval, w.Worth, w.KeySet = p.Member, p.beat.Interval(), p.worth, p.keySet
	w.Brief = true
	w.Alone = p.alone || !p.numbered && c.transport.Unicast // a list does not tell it
	if h.Like == p.full && h.Incarnation == p.incarnation {
		w.View = p.view
	} else if p.full != 0 { // its keys may be others: nothing that it lacks is known
		w.KeySet = 0
	}
	return &w
}

// numbers returns the last numbers that this heartbeat tells: those that changed
// lately, and so many others in turn.
func (c *Core) numbers(others int) (numbers []Last) {
	told := map[*state]bool{}
	tell := func(st *state) {
		if st.sent > 0 && !told[st] {
			told[st] = true
			numbers = append(numbers, Last{st.key, st.sent})
		}
	}
	for range min(tellChanged, len(c.changes)) {
		st := c.changes[0]
		c.changes = c.changes[1:]
		tell(st)
		if st.tell--; st.tell > 0 {
			c.changes = append(c.changes, st)
		} else {
			st.queuedUp = false
		}
	}
	for range min(others, len(c.keys)) {
		c.told = (c.told + 1) % len(c.keys)
		tell(c.keys[c.told])
	}
	return numbers
}

// tellSoon has the next heartbeats tell of a change.
func (c *Core) tellSoon(st *state) {
	st.tell = tellTimes
	if !st.queuedUp {
		st.queuedUp = true
		c.changes = append(c.changes, st)
	}
}

// allNumbers returns the last numbers of all keys.
func (c *Core) allNumbers() (numbers []Last) {
	for _, st := range c.keys {
		if st.sent > 0 {
			numbers = append(numbers, Last{st.key, st.sent})
		}
	}
	return numbers
}

// departed returns the last numbers of members that have just gone.
func (c *Core) departed() (all []Departed) {
	for _, p := range c.roster.all {
		if p.tell == 0 || len(all) >= tellChanged {
			continue
		}
		p.tell--
		d := Departed{Instance: p.Instance, Incarnation: p.incarnation}
		for _, s := range sortedStreams(p.streams) {
			if len(d.Numbers) < tellChanged && s.top > 0 {
				d.Numbers = append(d.Numbers, Last{s.state.key, s.top})
			}
		}
		if len(d.Numbers) > 0 {
			all = append(all, d)
		}
	}
	return all
}

func (c *Core) tickBeat() {
	if c.link == down || c.closed {
		c.nextBeat, c.markAt = Never, Never
		return
	}
	if c.now >= c.nextBeat || c.now >= c.markAt {
		c.beatNow()
	}
}

// tellMark has a mark tell what an exchange with this node is worth: where heartbeats
// are rare the others would not know for long.
func (c *Core) tellMark() {
	if c.transport.Native && c.link != down {
		c.markAt = min(c.markAt, c.now+markDelay)
	}
}
