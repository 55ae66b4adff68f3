package core

import (
	"math/rand/v2"
	"slices"
	"time"
)

// search asks one member after another for one state, in rounds. It begins when
// the state needs something (to be ready, to be compared, or what its origin
// could not give) and ends when it needs nothing, or after some rounds.
type search struct {
	open    bool
	reason  string
	began   time.Duration
	at      time.Duration // when the next member is asked
	tried   []*node       // in this round
	replies int           // in this round
	unsure  bool          // in this round somebody could not say: it was busy, or silent
	rounds  int           // that were answered
	passes  int           // all rounds
}

// begin opens the search, if it is not open.
func (s *search) begin(now time.Duration, reason string) {
	if s.open {
		return
	}
	*s = search{open: true, reason: reason, began: now, at: now}
}

// turn ends a round. It reports whether the search has gone on for long enough.
func (s *search) turn(now, jitter time.Duration) (over bool) {
	if s.replies > 0 {
		s.rounds++
	}
	pause := min(firstPause<<min(s.passes, 10), maxPause)
	s.passes++
	s.at = now + pause - pause/8 + jitter%(pause/4)
	s.tried, s.replies, s.unsure = s.tried[:0], 0, false
	return s.rounds >= maxRounds || now-s.began >= maxSearch
}

// want has a member asked for the state.
func (c *Core) want(st *state, reason string) {
	st.search.begin(c.now, reason)
	c.asked.at = min(c.asked.at, st.search.at)
}

// searchSoon goes on with what the state needs, without waiting for the pause
// between rounds: something has changed.
func (c *Core) searchSoon(st *state, at time.Duration) {
	if !c.needs(st) {
		return
	}
	if st.search.open {
		st.search.at = min(st.search.at, at)
	} else {
		st.search.begin(c.now, "join")
		st.search.at = at
	}
	c.asked.at = min(c.asked.at, st.search.at)
}

// needs reports whether the state needs an exchange.
func (c *Core) needs(st *state) bool {
	return !st.gone && (!c.isReady(st) || st.compare || st.lacksOwn() || slices.ContainsFunc(st.streams, func(s *stream) bool { return len(s.given) > 0 }))
}

// compareAll has every state compared with any other member.
func (c *Core) compareAll(reason string) {
	for _, st := range c.keys {
		if st.ready == Settling {
			continue // its first exchange is to come anyway
		}
		st.compare, st.stale, st.staleAt = true, true, c.now
		st.search = search{}
		c.want(st, reason)
	}
}

// candidate returns whom to ask for the state next. wait is set where there is
// somebody to ask later on.
func (c *Core) candidate(st *state) (best *node, wait time.Duration) {
	wait = Never
	if len(st.search.tried) >= maxAsked {
		return nil, wait
	}
	bestRank, alike := 100, 0
	tellers := st.tellers()
	for _, p := range c.roster.all {
		if !p.present() || p.lacks[st.key] || slices.Contains(st.search.tried, p) {
			continue
		}
		if c.asked.with(p) != nil {
			continue // what is under way with it wakes the search when it ends
		}
		if at := c.asked.againAt(p, st); c.now < at {
			wait = min(wait, at)
			continue
		}
		rank := c.rank(p)
		if slices.Contains(tellers, p) {
			rank = -1
		}
		if at := c.askableOf(st, p); c.now < at {
			wait = min(wait, at)
			continue
		}
		switch {
		case rank < bestRank:
			best, bestRank, alike = p, rank, 1
		case rank > bestRank:
		case !c.transport.Unicast: // all ask the same one, which answers all at once
			if compareMembers(p.Member, best.Member) < 0 {
				best = p
			}
		default:
			if alike++; c.rand.IntN(alike) == 0 {
				best = p
			}
		}
	}
	return best, wait
}

// tellers are the members that told of what is searched.
func (st *state) tellers() (tellers []*node) {
	for _, s := range st.streams {
		if len(s.given) > 0 && s.teller != nil {
			tellers = append(tellers, s.teller)
		}
	}
	return tellers
}

// rank orders members by what an exchange with them is worth, the best first.
func (c *Core) rank(p *node) int {
	rank := 0
	switch {
	case !p.known:
		rank = 2
	case p.worth == Repairing:
		rank = 4
	case p.worth == Joining:
		rank = 6
	}
	if p.keySet != c.keySet {
		rank++
	}
	if p.life == leaving {
		rank += 8
	}
	return rank
}

// askableOf is when p may be asked for the state.
func (c *Core) askableOf(st *state, p *node) time.Duration {
	if c.isReady(st) || st.compare || st.stale || !p.known || p.worth != Joining {
		return c.now
	}
	return max(c.now, c.askableAt(st))
}

// askableAt is when a joining member may be asked for a state that is not ready: at
// the cold start. For what it has one is asked before, and each in a cluster of three,
// but not before a ready member has had the time to show itself.
func (c *Core) askableAt(st *state) time.Duration {
	most := 1
	if len(c.roster.live) <= earlyAll {
		most = earlyAll
	}
	if st.early >= most || c.attachedAt == Never {
		return c.coldAt()
	}
	return c.attachedAt + earlyAsk
}

// coldAt is when joining members begin to settle on each other.
func (c *Core) coldAt() time.Duration {
	if c.attachedAt == Never {
		return Never
	}
	return c.attachedAt + coldStart
}

// outcome is what came of asking one member for one state.
type outcome uint8

const (
	answeredHere outcome = iota // equal, or merged
	lacked                      // it has no such state
	refused                     // its data could not be merged
	unclear                     // busy, or its budget was spent
	noReply
)

// asking handles what came of asking a member for a state.
func (c *Core) asking(st *state, p *node, o outcome) {
	c.metAsked(st, p, o)
	switch o {
	case lacked:
		if p.lacks == nil {
			p.lacks = map[string]bool{}
		}
		p.lacks[st.key] = true
	case answeredHere:
		st.compare, st.stale = false, false
	case refused: // whoever is asked, it would be refused again
		if c.link == catchingUp && st.stale { // but to be attached takes all that can be merged
			o = unclear
			break
		}
		st.compare, st.stale = false, false
		c.giveUpGiven(st)
	}
	s := &st.search
	if s.open && !st.gone {
		if !slices.Contains(s.tried, p) {
			s.tried = append(s.tried, p)
		}
		switch o {
		case unclear:
			s.replies++
			s.unsure = true
		case noReply:
			s.unsure = s.unsure || p.life == live // who leaves need not answer any more
		default:
			s.replies++
		}
		s.at = c.now
		c.settleSearch(st)
	}
	c.asked.at = c.now
	c.caughtUp()
}

// settleSearch ends the search if the state needs nothing more.
func (c *Core) settleSearch(st *state) {
	if st.search.open && !c.needs(st) {
		st.search = search{at: Never}
	}
}

// giveUpGiven counts as lost what nobody has who was asked.
func (c *Core) giveUpGiven(st *state) {
	if st.lacksOwn() {
		st.own = Ranges{{1, st.former}}
	}
	c.giveUpOthers(st)
}

// giveUpOthers counts as lost what the origins could not give.
func (c *Core) giveUpOthers(st *state) {
	for _, s := range st.streams {
		if len(s.given) > 0 {
			c.giveUp(s, slices.Clone(s.given))
		}
	}
}

// roundOver ends a round: everybody who was to be asked for the state was.
func (c *Core) roundOver(st *state) {
	s := &st.search
	if !c.anyNode() { // nobody is there: whoever comes is compared with
		c.notShown(st)
		c.giveUpOthers(st)
		if s.at, s.tried = Never, nil; st.lacksOwn() { // who comes may have heard it
			*s = search{at: Never}
		}
		c.settleSearch(st)
		c.caughtUp()
		return
	}
	if s.replies == 0 && !s.unsure && c.allLack(st) {
		s.replies = 1 // all have said before that they lack it
	}
	definite := s.replies > 0 && !s.unsure && !c.asked.owed(st)
	if definite {
		c.notShown(st)
		c.giveUpGiven(st)
		if !c.isReady(st) && c.allLack(st) && c.knowsAll() {
			c.becomeReady(st, Synced)
		}
	}
	c.coldReady(st)
	over := s.turn(c.now, c.jitter(s.passes))
	s.at = (s.at + roundStep).Truncate(roundStep)
	if cold := c.coldAt(); !c.isReady(st) && c.now < cold && cold < s.at { // joining members can then be asked
		s.at = cold
	}
	if over {
		st.compare, st.stale = false, false
		c.giveUpGiven(st)
	}
	c.settleSearch(st)
	c.caughtUp()
}

// notShown ends a comparison of the state though nobody has it who is there. Who comes
// while this node catches up may.
func (c *Core) notShown(st *state) {
	st.unshown = st.unshown || st.stale
	st.compare, st.stale = false, false
}

// jitter keeps the pauses of nodes apart. It is the same for all states of this
// node: a thousand that end a round together begin the next one together, in one
// pull, and not each in a moment of its own.
func (c *Core) jitter(passes int) time.Duration {
	return time.Duration(rand.New(rand.NewPCG(c.cfg.Seed, uint64(passes))).Int64N(int64(maxPause)))
}

// anyNode reports whether another node of this protocol is there to be asked.
func (c *Core) anyNode() bool {
	return slices.ContainsFunc(c.roster.all, (*node).present)
}

// anyBetter reports whether a node is there that may have the state, and whose own
// first exchanges are over, or may be.
func (c *Core) anyBetter(st *state) bool {
	return slices.ContainsFunc(c.roster.all, func(p *node) bool {
		return p.present() && !p.lacks[st.key] && (!p.known || p.worth != Joining)
	})
}

// allLack reports whether all members lack the state: each has said so, or has
// the same keys as one that said so.
func (c *Core) allLack(st *state) bool {
	sets := map[uint64]bool{}
	for _, p := range c.roster.live {
		if !p.foreign() && p.lacks[st.key] && p.keySet != 0 {
			sets[p.keySet] = true
		}
	}
	for _, p := range c.roster.live {
		if !p.foreign() && !p.lacks[st.key] && !sets[p.keySet] {
			return false
		}
	}
	return true
}
