package core

import (
	"slices"
)

// onMissing sends updates again to who missed them.
func (c *Core) onMissing(p *node, m *Missing) {
	if m.To != c.cfg.Self.Instance || p == nil || !p.present() {
		return
	}
	answer := &Kept{Incarnation: c.incarnation}
	for _, w := range m.Wants[:min(len(m.Wants), maxWants)] {
		st := c.states[w.Key]
		if w.Incarnation != c.incarnation || !w.Numbers.valid() || len(w.Numbers) > maxWantRanges {
			continue
		}
		k := KeptKey{Key: w.Key}
		if st == nil {
			k.Last = c.retired[w.Key].sent
			k.Gone = w.Numbers.Up(k.Last)
		} else {
			if c.allTold(st, w.Numbers) {
				continue
			}
			k.Last = st.sent
			c.expireKept(st)
			have := Ranges{{st.kept.first(st.assigned + 1), st.assigned}}
			if have[0].First > have[0].Last {
				have = nil
			}
			if !c.sendAgain(p.Instance, st, w.Numbers.And(have)) {
				continue // the budget is spent: it asks again
			}
			k.Gone = w.Numbers.Up(st.sent)
			k.Gone.RemoveAll(have)
			if !c.transport.Unicast {
				st.served.asked.AddAll(w.Numbers)
			}
		}
		answer.Keys = append(answer.Keys, k)
	}
	if len(answer.Keys) > 0 {
		c.send(p.Instance, answer)
	}
}

// expireKept lets go of updates that are too old to be sent again: what they say may have
// been deleted since, and the deletion forgotten.
func (c *Core) expireKept(st *state) { c.keptAll -= st.kept.expire(c.now - keptFor) }

// allTold reports whether all on a bus have just heard what this node says of these
// numbers: after an outage each member asks for the same.
func (c *Core) allTold(st *state, numbers Ranges) bool {
	if c.transport.Unicast || c.now >= st.served.until {
		return false
	}
	fresh := slices.Clone(numbers)
	fresh.RemoveAll(st.served.asked)
	return len(fresh) == 0
}

// sendAgain sends updates of this node once more. It reports whether the budget
// allowed it. On a bus one resend serves all who ask for the same soon after.
func (c *Core) sendAgain(to string, st *state, numbers Ranges) bool {
	if !c.transport.Unicast {
		to = ""
		if c.now < st.served.until {
			numbers = slices.Clone(numbers)
			numbers.RemoveAll(st.served.numbers)
		} else {
			st.served = window{until: c.now + resendWindow}
		}
	}
	if numbers.Count() == 0 {
		return true
	}
	if !c.answered.bytes.take(c.now, 1) {
		c.note(NoteLimited, nil, st.key, 1, "bytes")
		return false
	}
	r := Resend{To: c.way(to), Incarnation: c.incarnation}
	size := 0
	for _, span := range numbers {
		for n := span.First; n <= span.Last; n++ { // within what is kept
			if data, ok := st.kept.get(n); ok {
				r.Updates = append(r.Updates, Update{st.key, n, data})
				size += len(data)
			}
		}
	}
	if len(r.Updates) == 0 {
		return true
	}
	if !c.transport.Unicast {
		st.served.numbers.AddAll(numbers)
	}
	c.answered.bytes.spend(c.now, size)
	c.note(NoteSentAgain, nil, st.key, uint64(len(r.Updates)), "")
	c.emit(r)
	return true
}

// onKept handles what an origin says of its numbers: it alone can say that one
// was never used.
func (c *Core) onKept(p *node, k *Kept) {
	if p == nil || !p.present() || k.Incarnation != p.incarnation {
		return
	}
	for _, key := range k.Keys {
		s := p.streams[key.Key]
		if s == nil || !key.Gone.valid() {
			continue
		}
		if s.lower(key.Last) {
			s.hole.asks = 0
		}
		if gone := s.missing.And(key.Gone); len(gone) > 0 {
			s.given.AddAll(gone)
			c.want(s.state, "gap")
		}
	}
}
