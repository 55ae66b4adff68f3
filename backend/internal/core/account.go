package core

import (
	"slices"
)

// holesOf are the numbers of a state that an exchange is to close.
func (c *Core) holesOf(st *state) (holes []Numbers) {
	for _, s := range st.streams {
		if len(s.missing) > 0 && s.node.wasMember() {
			holes = append(holes, Numbers{s.node.Instance, s.incarnation, slices.Clone(s.missing[:min(len(s.missing), maxWantRanges)])})
		}
	}
	return holes
}

// misses reports whether updates are missing that explain a difference: those that
// are searched for, and so come.
func (c *Core) misses(st *state) bool {
	return slices.ContainsFunc(st.streams, func(s *stream) bool { return len(s.missing) > 0 && s.node.wasMember() })
}

// account handles the numbers that a merged answer holds.
func (c *Core) account(k *pullKey, numbers []Numbers) {
	for _, n := range numbers {
		if !n.Ranges.valid() || n.Origin == "" || len(n.Origin) > maxInstanceBytes {
			continue
		}
		if n.Origin == c.cfg.Self.Instance {
			if st := k.state; k.all && n.Incarnation == c.incarnation {
				st.own.AddAll(n.Ranges.Up(st.former))
				st.own.shed()
			}
			continue
		}
		p := c.roster.get(n.Origin)
		if p == nil && k.all {
			if p = c.meet(Member{Instance: n.Origin}); p != nil {
				p.incarnation = n.Incarnation
			}
		}
		if p == nil || n.Incarnation != p.incarnation {
			continue
		}
		s := p.streams[k.state.key]
		if s == nil {
			if !k.all {
				continue
			}
			if s = c.newStream(c.now, p, p.streams, []byte(k.state.key), n.Incarnation, 0); s == nil {
				continue
			}
		}
		if k.all {
			s.account(n.Ranges)
			p.member = true // as the members say: what it said last is searched for
		} else {
			s.account(n.Ranges.And(s.missing))
		}
	}
}

// numbersFor returns the numbers that an answer tells for a state: those asked
// about that it holds, or all.
func (c *Core) numbersFor(st *state, it PullItem) (numbers []Numbers) {
	if it.All {
		for _, s := range st.streams {
			if r := s.claims(); len(r) > 0 && s.node.wasMember() && s.incarnation == s.node.incarnation {
				numbers = append(numbers, Numbers{s.node.Instance, s.incarnation, r[:min(len(r), maxWantRanges)]})
			}
		}
		if held := st.held(c.now); len(held) > 0 {
			numbers = append(numbers, Numbers{c.cfg.Self.Instance, c.incarnation, held})
		}
		return numbers
	}
	for _, h := range it.Holes {
		if !h.Ranges.valid() {
			continue
		}
		var have Ranges
		if h.Origin == c.cfg.Self.Instance {
			if h.Incarnation == c.incarnation {
				have = h.Ranges.And(st.held(c.now))
			}
		} else if p := c.roster.get(h.Origin); p != nil {
			s := p.streams[st.key]
			if h.Incarnation != p.incarnation {
				s = p.former[st.key]
			}
			if s != nil && s.incarnation == h.Incarnation {
				have = s.claims().And(h.Ranges)
			}
		}
		if len(have) > 0 {
			numbers = append(numbers, Numbers{h.Origin, h.Incarnation, have})
		}
	}
	return numbers
}
