package core

import (
	"slices"
	"time"
)

// hole is the life of what is missing in a stream: it may still be on its way,
// then its origin is asked, then others.
type hole struct {
	at   time.Duration // when something is to be done next
	asks int           // of the origin, without an answer
}

// holes are the streams with something missing.
type holes struct {
	open []*stream
	at   time.Duration // not before then is there anything to do
}

// note lists the stream if something is missing in it that its origin is to be
// asked for, from at on. Nothing is searched of who never was a member.
func (h *holes) note(s *stream, at time.Duration) {
	if len(s.missing) == 0 || s.gone || !s.node.wasMember() {
		return
	}
	if !s.listed {
		s.listed = true
		h.open = append(h.open, s)
		s.hole = hole{at: at}
	}
	s.hole.at = min(s.hole.at, at)
	h.at = min(h.at, s.hole.at)
}

// giveUp counts what is missing in a stream as lost.
func (c *Core) giveUp(s *stream, numbers Ranges) {
	if n := s.giveUp(numbers); n > 0 {
		c.note(NoteLost, s.node, s.state.key, n, "")
	}
}

// reopenLost has what was given up asked of its origin once more, which has come to
// hear the others again.
func (c *Core) reopenLost(p *node) {
	for _, s := range sortedStreams(p.streams) {
		if len(s.lost) > 0 {
			s.reopen()
			c.holes.note(s, c.now+reorderDelay)
		}
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
	wants := map[*node]*Missing{}
	var asked []*node
	open := c.holes.open
	c.holes.open = open[:0]
	for _, s := range open {
		if s.gone || len(s.missing) == 0 {
			s.listed = false
			if st := s.state; st.doubted && !st.gone && !c.misses(st) {
				st.doubted = false
				c.spread(st)
			}
			continue
		}
		c.holes.open = append(c.holes.open, s)
		if c.now >= s.hole.at {
			c.seek(s, wants, &asked)
		}
		c.holes.at = min(c.holes.at, s.hole.at)
		if s.state.doubted {
			c.holes.at = min(c.holes.at, c.now+firstPause)
		}
	}
	clear(open[len(c.holes.open):])
	for _, p := range asked {
		c.send(p.Instance, wants[p])
	}
}

// seek does the next thing for what is missing in a stream.
func (c *Core) seek(s *stream, wants map[*node]*Missing, asked *[]*node) {
	if s.state.ready == Settling && s.state.search.open && !s.state.fed { // its first exchange may bring it
		s.hole.at = Never
		return
	}
	fresh := slices.Clone(s.missing)
	fresh.RemoveAll(s.given)
	if len(fresh) == 0 {
		s.hole.at = Never
		return
	}
	if !s.node.present() || s.incarnation != s.node.incarnation || s.hole.asks >= originAsks {
		s.given.AddAll(fresh)
		s.hole = hole{at: Never}
		c.want(s.state, "gap")
		return
	}
	m := wants[s.node]
	if m == nil {
		m = &Missing{To: s.node.Instance}
		wants[s.node] = m
		*asked = append(*asked, s.node)
	}
	if len(m.Wants) >= maxWants {
		s.hole.at = c.now + reorderDelay
		return
	}
	fresh = fresh[:min(len(fresh), maxWantRanges)]
	m.Wants = append(m.Wants, Want{s.state.key, s.incarnation, fresh})
	c.note(NoteAskedAgain, s.node, s.state.key, fresh.Count(), "")
	s.hole.at = c.now + originPatience<<s.hole.asks
	s.hole.asks++
}
