package core

import (
	"cmp"
	"slices"
	"time"
)

// stream is what is known of the numbers of one origin, in one incarnation, for
// one key. Every number up to top is in exactly one of arrived, pending or refused (or
// one of these and accounted), accounted, lost and missing.
type stream struct {
	node        *node
	incarnation uint32
	state       *state
	top         uint64 // the highest that the origin is known to have used

	arrived   Ranges // that very update was merged
	pending   Ranges // it waits in the state's queue
	accounted Ranges // a merged exchange had it
	refused   Ranges // its Merge failed: a comparison may still bring it, that update never does
	lost      Ranges // given up; a comparison may still bring it
	missing   Ranges // none of these
	given     Ranges // of missing: what its origin cannot give, and others are asked for
	teller    *node  // who told of the last of these, and so may have it

	hole   hole
	listed bool // in holes.open
	gone   bool // the state was removed
}

// has reports whether that very update arrived, whatever came of it.
func (s *stream) has(n uint64) bool {
	return n <= s.top && (s.arrived.Has(n) || s.pending.Has(n) || s.refused.Has(n))
}

// raise notes that the origin has used all numbers up to n. It reports
// whether any are missing that were not before.
func (s *stream) raise(n uint64) bool {
	if n <= s.top {
		return false
	}
	first := s.top + 1
	s.top = n
	before := s.missing.Count()
	s.missing.Add(first, n)
	s.missing.RemoveAll(s.accounted)
	s.accounted.Remove(n+1, maxNumber) // nobody else's word counts above the origin's own
	return s.missing.Count() > before
}

// lower notes, from the origin itself, that it has used no number above n. It
// reports false where one above has come: then its word is an old one, that says
// nothing of what is missing now, or that update is a forged one.
func (s *stream) lower(n uint64) (ok bool) {
	switch {
	case n >= s.top:
		return true
	case n < s.arrived.last(), n < s.pending.last(), n < s.refused.last():
		return false
	}
	for _, set := range []*Ranges{&s.missing, &s.given, &s.lost, &s.accounted} {
		set.Remove(n+1, maxNumber)
	}
	s.top = n
	return true
}

// queued notes that the update n waits for its Merge.
func (s *stream) queued(n uint64) (opened bool) {
	if n == s.top+1 && len(s.accounted) == 0 { // in order, the usual case
		s.top = n
		s.pending.Add(n, n)
		return false
	}
	opened = n > s.top+1 && s.raise(n-1)
	s.top = max(s.top, n)
	s.pending.Add(n, n)
	s.missing.Remove(n, n)
	s.given.Remove(n, n)
	s.lost.Remove(n, n)
	return opened
}

// dropped notes that there was no room for the update n.
func (s *stream) dropped(n uint64) (opened bool) {
	before := s.missing.Count()
	s.raise(n)
	if !s.accounted.Has(n) {
		s.lost.Remove(n, n)
		s.missing.Add(n, n)
	}
	return s.missing.Count() > before
}

// merged notes that the Merge of the update n has returned.
func (s *stream) merged(n uint64, ok bool) {
	if p := s.pending; len(p) == 1 && p[0].First == n && p[0].Last > n { // in order, the usual case
		p[0].First++
	} else {
		s.pending.Remove(n, n)
	}
	if ok {
		s.arrived.Add(n, n)
	} else {
		s.refused.Add(n, n)
	}
	s.bound()
}

// account notes that a merged exchange had these numbers.
func (s *stream) account(numbers Ranges) {
	for _, r := range numbers {
		s.accounted.Add(r.First, r.Last)
		s.missing.Remove(r.First, r.Last)
		s.given.Remove(r.First, r.Last)
		s.lost.Remove(r.First, r.Last)
	}
	s.bound()
}

// giveUp counts numbers as lost, and returns how many.
func (s *stream) giveUp(numbers Ranges) (n uint64) {
	for _, r := range s.missing.And(numbers) {
		n += r.Last - r.First + 1
		s.lost.Add(r.First, r.Last)
		s.missing.Remove(r.First, r.Last)
		s.given.Remove(r.First, r.Last)
	}
	s.bound()
	return n
}

// reopen has what was lost searched once more.
func (s *stream) reopen() {
	s.missing.AddAll(s.lost)
	s.lost = nil
}

// bound keeps the sets from growing without end. What is forgotten is claimed no
// more, and merged again when it comes again.
func (s *stream) bound() {
	s.lost.AddAll(s.arrived.shed())
	s.lost.AddAll(s.accounted.shed())
	s.lost.AddAll(s.refused.shed())
	s.lost.AddAll(s.missing.shed())
	if len(s.lost) > maxRanges {
		s.lost = Ranges{{s.lost[0].First, s.lost[len(s.lost)-1].Last}}
		for _, set := range []Ranges{s.arrived, s.pending, s.accounted, s.refused, s.missing} {
			s.lost.RemoveAll(set)
		}
		s.lost.shed()
	}
}

// claims returns the numbers that this node's state holds for certain, never
// above what the origin itself was heard to use.
func (s *stream) claims() Ranges {
	held := append(Ranges(nil), s.arrived...)
	held.AddAll(s.accounted)
	return held.Up(s.top)
}

// newStream begins the account of an origin's numbers for a key, unless there is
// no such state here.
func (c *Core) newStream(now time.Duration, p *node, streams map[string]*stream, key []byte, incarnation uint32, number uint64) *stream {
	st := c.states[string(key)]
	if st == nil {
		c.missUnregistered(now, p, string(key), incarnation, number)
		return nil
	}
	if c.streams >= maxStreams || p.life == stranger && len(streams) >= maxStrangerKeys {
		return nil
	}
	s := &stream{node: p, incarnation: incarnation, state: st}
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
	for _, m := range []map[string]*stream{s.node.streams, s.node.former} {
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
