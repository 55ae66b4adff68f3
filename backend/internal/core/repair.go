package core

import (
	"cmp"
	"slices"
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
	c.keptAll += st.kept.add(st.assigned, data)
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

// Receive takes in that an update of origin arrived, and says what is to become
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
		if incarnation+1 != p.incarnation || p.former == nil {
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
	p.heardAt = now
	p.beat.Heard()
	return Deliver, Ref{s, number}, false
}

// untracked is the verdict on an update of which no account is kept.
func (c *Core) untracked(key []byte) Verdict {
	if c.states[string(key)] == nil {
		return Unknown
	}
	return Deliver
}

// receiveOwn takes in an update in this node's own name: its own, that a bus
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

// receiveStranger takes in an update of a node that is not known yet.
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
	p.incarnation, p.heardAt = min(incarnation, maxRaise), now
	s := c.newStream(now, p, p.streams, key, incarnation, number)
	if s == nil {
		return c.untracked(key), Ref{}, true
	}
	return Deliver, Ref{s, number}, true
}

// newStream begins the account of an origin's numbers for a key, unless there is
// no such state here.
func (c *Core) newStream(now time.Duration, p *peer, streams map[string]*stream, key []byte, incarnation uint32, number uint64) *stream {
	st := c.states[string(key)]
	if st == nil {
		c.missForeign(now, p, string(key), incarnation, number)
		return nil
	}
	if c.streams >= maxStreams || p.life == stranger && len(streams) >= maxStrangerKeys {
		return nil
	}
	s := &stream{peer: p, incarnation: incarnation, state: st}
	streams[st.key] = s
	st.streams = append(st.streams, s)
	c.streams++
	return s
}

// dropStream forgets the account.
func (c *Core) dropStream(s *stream) {
	if s.gone {
		return
	}
	s.gone = true
	c.streams--
	s.state.streams = slices.DeleteFunc(s.state.streams, func(o *stream) bool { return o == s })
	for _, m := range []map[string]*stream{s.peer.streams, s.peer.former} {
		if m[s.state.key] == s {
			delete(m, s.state.key)
		}
	}
}

func sortedStreams(m map[string]*stream) []*stream {
	all := make([]*stream, 0, len(m))
	for _, s := range m {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *stream) int { return cmp.Compare(a.state.key, b.state.key) })
	return all
}

// Queued says whether there was room for a received update in its state's queue.
// What there was no room for is missing, and is asked for later.
func (c *Core) Queued(now time.Duration, r Ref, ok bool) (wake bool) {
	s := r.stream
	if s == nil || s.gone {
		return false
	}
	before := s.missing.Count()
	if ok {
		s.state.pending++
		if !s.queued(r.number) {
			return false
		}
		return c.opened(now, s, s.missing.Count()-before, reorderDelay)
	}
	st := s.state
	if now-st.fullAt > time.Minute {
		st.overflows = 0
	}
	st.fullAt = now
	s.dropped(r.number)
	pause := min(reorderDelay<<min(st.overflows, 10), maxPause)
	st.overflows++
	wake = c.opened(now, s, s.missing.Count()-before, pause)
	s.hole.at = now + pause // no sooner, whatever was asked before
	return wake
}

// opened notes that n numbers are missing in a stream that were not before.
func (c *Core) opened(now time.Duration, s *stream, n uint64, pause time.Duration) (wake bool) {
	c.begin(now)
	if !s.peer.wasMember() {
		return false
	}
	c.holes.note(s, now+pause)
	if n > 0 {
		c.note(NoteGap, s.peer, s.state.key, n, "")
	}
	if c.holes.at < c.wakeAt {
		c.wakeAt = c.holes.at
	}
	return true
}

// UpdateMerged says that the Merge of a queued update has returned. After an
// error the update is not held for merged.
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
	}
	if c.link == catchingUp && s.state.merged == s.state.backlog {
		c.begin(now)
		c.caughtUp()
		c.end()
		return true
	}
	return false
}

// announced takes in that a peer has used all numbers of a key up to one.
func (c *Core) announced(p *peer, incarnation uint32, l Last) {
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
	before := s.missing.Count()
	if s.raise(l.Number) {
		c.opened(c.now, s, s.missing.Count()-before, reorderDelay)
	}
}

// foreignUpdate is the last number of an origin for a key that is not registered
// here: if it soon is, this is what was missed.
type foreignUpdate struct {
	peer        *peer
	key         string
	incarnation uint32
	number      uint64
	at          time.Duration
}

func (c *Core) missForeign(now time.Duration, p *peer, key string, incarnation uint32, number uint64) {
	if len(key) > maxKeyBytes {
		return
	}
	for i := range c.foreign {
		if f := &c.foreign[i]; f.peer == p && f.key == key && f.incarnation == incarnation {
			f.number, f.at = max(f.number, number), now
			return
		}
	}
	if len(c.foreign) >= maxForeign {
		c.foreign = slices.Delete(c.foreign, 0, 1)
	}
	c.foreign = append(c.foreign, foreignUpdate{p, key, incarnation, number, now})
}

// recallForeign takes in what was missed for a key that is registered now.
func (c *Core) recallForeign(st *state) {
	c.foreign = slices.DeleteFunc(c.foreign, func(f foreignUpdate) bool {
		if f.key != st.key {
			return false
		}
		if c.now-f.at <= foreignFor && f.peer.incarnation == f.incarnation && c.roster.get(f.peer.Instance) == f.peer {
			c.announced(f.peer, f.incarnation, Last{f.key, f.number})
		}
		return true
	})
}

// giveUp counts what is missing in a stream as lost.
func (c *Core) giveUp(s *stream, numbers Ranges) {
	if n := s.giveUp(numbers); n > 0 {
		c.note(NoteLost, s.peer, s.state.key, n, "")
	}
}

// tickHoles asks origins for what is missing, and hands to the search what they
// cannot give.
func (c *Core) tickHoles() {
	if c.now < c.holes.at {
		return
	}
	if c.link == down || c.link == unheard || c.closing {
		c.holes.at = Never // looked at when the link is up again
		return
	}
	c.holes.at = Never
	wants := map[*peer]*Missing{}
	var asked []*peer
	open := c.holes.open
	c.holes.open = open[:0]
	for _, s := range open {
		if s.gone || len(s.missing) == 0 {
			s.listed = false
			continue
		}
		c.holes.open = append(c.holes.open, s)
		if c.now >= s.hole.at {
			c.seek(s, wants, &asked)
		}
		c.holes.at = min(c.holes.at, s.hole.at)
	}
	clear(open[len(c.holes.open):])
	for _, p := range asked {
		c.send(p.Instance, wants[p])
	}
}

// seek does the next thing for what is missing in a stream.
func (c *Core) seek(s *stream, wants map[*peer]*Missing, asked *[]*peer) {
	if s.state.ready == Settling && s.state.search.open { // its first exchange may bring it
		s.hole.at = Never
		return
	}
	fresh := slices.Clone(s.missing)
	fresh.RemoveAll(s.given)
	if len(fresh) == 0 {
		s.hole.at = Never
		return
	}
	if !s.peer.present() || s.incarnation != s.peer.incarnation || s.hole.asks >= originAsks {
		s.given.AddAll(fresh)
		s.hole = hole{at: Never}
		c.want(s.state, "gap")
		return
	}
	m := wants[s.peer]
	if m == nil {
		m = &Missing{To: s.peer.Instance}
		wants[s.peer] = m
		*asked = append(*asked, s.peer)
	}
	if len(m.Wants) >= maxWants {
		s.hole.at = c.now + reorderDelay
		return
	}
	fresh = fresh[:min(len(fresh), maxWantRanges)]
	m.Wants = append(m.Wants, Want{s.state.key, s.incarnation, fresh})
	c.note(NoteAskedAgain, s.peer, s.state.key, fresh.Count(), "")
	s.hole.at = c.now + originPatience<<s.hole.asks
	s.hole.asks++
}

// onMissing sends updates again to who missed them.
func (c *Core) onMissing(p *peer, m *Missing) {
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
			k.Last = st.sent
			have := Ranges{{st.kept.first(st.assigned + 1), st.assigned}}
			if have[0].First > have[0].Last {
				have = nil
			}
			if !c.sendAgain(p.Instance, st, w.Numbers.And(have)) {
				continue // the budget is spent: it asks again
			}
			k.Gone = w.Numbers.Up(st.sent)
			k.Gone.RemoveAll(have)
		}
		answer.Keys = append(answer.Keys, k)
	}
	if len(answer.Keys) > 0 {
		c.send(p.Instance, answer)
	}
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
	r := Resend{To: to, Incarnation: c.incarnation}
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

// onKept takes in what an origin says of its numbers: it alone can say that one
// was never used.
func (c *Core) onKept(p *peer, k *Kept) {
	if p == nil || !p.present() || k.Incarnation != p.incarnation {
		return
	}
	for _, key := range k.Keys {
		s := p.streams[key.Key]
		if s == nil || !key.Gone.valid() {
			continue
		}
		s.lower(key.Last)
		s.hole.asks = 0
		if gone := s.missing.And(key.Gone); len(gone) > 0 {
			s.given.AddAll(gone)
			c.want(s.state, "gap")
		}
	}
}
