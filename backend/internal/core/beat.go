package core

import "github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"

// beatNow sends a heartbeat.
func (c *Core) beatNow() {
	if c.closed {
		return
	}
	if !c.transport.Native {
		c.interval = heartbeat.Interval(c.cfg.Heartbeat, c.roster.settled()+1)
	}
	h := &Heartbeat{
		Member: c.cfg.Self, Incarnation: c.incarnation, Count: c.pulse.Beat(c.now), Interval: c.interval,
		Leaving: c.closing, Alone: c.transport.Unicast, Worth: c.worth(), KeySet: c.keySet, View: c.viewDigest(),
		Numbers: c.numbers(), Departed: c.departed(),
	}
	if c.hello > 0 && !c.closing {
		h.Hello = true
		c.hello--
		c.informed = c.informed || c.hello < helloTimes-1
		c.helloAt = c.now
	}
	c.markAt = Never
	c.nextBeat = c.now + c.beatPause()
	c.send("", h)
}

// numbers returns the last numbers that this heartbeat tells: those that changed
// lately, and some others in turn.
func (c *Core) numbers() (numbers []Last) {
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
	for range min(tellIdle, len(c.keys)) {
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
