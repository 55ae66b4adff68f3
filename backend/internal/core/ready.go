package core

import (
	"slices"
	"strings"
	"time"
)

// isReady reports whether the state's first exchange is over, for good.
func (c *Core) isReady(st *state) bool { return st.ready == Synced || st.ready == Alone }

// worth is what an exchange with this node is worth.
func (c *Core) worth() Worth {
	w := Whole
	switch {
	case len(c.keys) == 0 && c.ready == Settling: // what it will have is not known yet
		w = Joining
	case c.link != attached:
		w = Repairing
	}
	for _, st := range c.keys {
		w = min(w, c.worthOf(st))
	}
	return w
}

// worthOf is what this node's answer for one state is worth.
func (c *Core) worthOf(st *state) Worth {
	switch {
	case !c.isReady(st):
		return Joining
	case st.stale || c.link != attached:
		return Repairing
	default:
		return Whole
	}
}

// becomeReady notes that the state is ready.
func (c *Core) becomeReady(st *state, how Readiness) {
	if st.gone || st.ready == how || st.ready == Synced || how == TimedOut && st.ready != Settling {
		return
	}
	was := st.ready
	if st.ready = how; how != TimedOut {
		st.withheld = nil
	}
	c.emit(StateReady{st.key, how})
	c.changed = c.changed || was == TimedOut || how == TimedOut
	if how == TimedOut && (c.ready == Synced || c.ready == TimedOut) { // settle tells of the first ones
		c.note(NoteTimedOut, nil, "", 1, st.key)
	}
	c.tellMark()
	for _, s := range st.streams { // what the first exchange did not bring
		c.holes.note(s, c.now+reorderDelay)
	}
	c.settleSearch(st)
	c.settle()
}

// answeredBy notes that the state was merged from an answer of that worth, or
// found equal.
func (c *Core) answeredBy(st *state, w Worth) {
	if !st.fed { // what it still misses is not in what there is to exchange
		st.fed = true
		for _, s := range st.streams {
			c.holes.note(s, c.now+reorderDelay)
		}
	}
	if c.link != attached && c.link != catchingUp {
		return
	}
	switch w {
	case Whole:
		c.becomeReady(st, Synced)
	case Joining:
		if !c.isReady(st) && c.now >= c.coldAt() { // before, it is only early data
			st.cold = true
			c.readySoon()
		}
	}
}

// coldReady lets a state be ready that was merged from a joining member, when all
// start at once: a while after the attachment, and while no ready member is
// visible that could have it.
func (c *Core) coldReady(st *state) {
	if !st.cold || c.isReady(st) || c.now < c.coldAt() {
		return
	}
	for _, p := range c.roster.live {
		if p.foreign() || p.lacks[st.key] {
			continue
		}
		if p.known && p.worth != Joining || !p.known && !slices.Contains(st.search.tried, p) || slices.Contains(st.withheld, p) {
			return
		}
	}
	c.becomeReady(st, Synced)
}

func (c *Core) anyLive() bool { return c.roster.count[live] > 0 }

// aloneAt is when a node that has heard of nobody is alone.
func (c *Core) aloneAt() (at time.Duration) {
	if c.attachedAt == Never {
		return Never
	}
	if c.transport.Native && c.hasList { // which names all
		return c.attachedAt
	}
	if c.unknownAt != Never { // somebody is there who tells its name soon
		return max(c.attachedAt+c.cfg.Heartbeat, c.unknownAt+fullEvery*c.cfg.Heartbeat)
	}
	return c.attachedAt + c.cfg.Heartbeat
}

// aloneNow notes that the transport itself says that there is nobody else.
func (c *Core) aloneNow() {
	for _, st := range c.keys {
		c.becomeReady(st, Alone)
	}
	c.settle()
}

// joinedNode notes that p became a member.
func (c *Core) joinedNode(p *node) {
	for _, st := range c.keys {
		if c.link == catchingUp && st.unshown {
			st.unshown, st.compare, st.stale, st.staleAt = false, true, true, c.now
			st.search = search{}
			c.want(st, "reattach")
		}
		if !c.isReady(st) || st.lacksOwn() {
			c.searchSoon(st, c.askableOf(st, p))
		}
	}
	c.readySoon()
}

// searchReady has states that are not ready looked for once more: a member has
// become ready, or is gone.
func (c *Core) searchReady() {
	for _, st := range c.keys {
		if !c.isReady(st) {
			c.coldReady(st)
			c.searchSoon(st, c.now)
		}
	}
	c.readySoon()
}

// tickReady lets the limits pass.
func (c *Core) tickReady() {
	if c.now < c.readyAt {
		return
	}
	for _, st := range c.keys {
		switch {
		case st.ready != Settling:
		case c.link == attached && !c.anyLive() && c.now >= c.aloneAt():
			c.becomeReady(st, Alone)
		case c.now >= st.limitAt:
			c.becomeReady(st, TimedOut)
		default:
			c.coldReady(st)
		}
	}
	c.settle()
	c.readyAt = c.nextReady()
}

// readySoon has the limits looked at.
func (c *Core) readySoon() { c.readyAt = min(c.readyAt, c.now) }

// nextReady returns when the next limit passes.
func (c *Core) nextReady() (at time.Duration) {
	at = Never
	if len(c.keys) == 0 && c.ready == Settling {
		at = min(c.settleBy, c.aloneAt())
	}
	for _, st := range c.keys {
		if st.ready == Settling {
			at = min(at, st.limitAt)
			if c.link == attached && !c.anyLive() {
				at = min(at, c.aloneAt())
			}
			if st.cold {
				at = min(at, c.coldAt())
			}
		}
	}
	if at <= c.now { // that alone was not enough
		return c.now + c.cfg.Heartbeat
	}
	return at
}

// settle makes the readiness of the node out of that of its states. Once it is
// not Settling it stays so.
func (c *Core) settle() {
	r := c.overall()
	if r == c.ready || r == Settling || c.ready == Synced {
		return
	}
	first := c.ready == Settling
	c.ready, c.changed = r, true
	switch {
	case r == TimedOut:
		c.note(NoteTimedOut, nil, "", uint64(len(c.unready())), strings.Join(c.unready(), ", "))
	case first:
		c.note(NoteReady, nil, "", 0, r.String())
	}
}

func (c *Core) overall() Readiness {
	if len(c.keys) == 0 {
		switch {
		case c.link == attached && c.anyLive():
			return Synced
		case c.link == attached && c.now >= c.aloneAt():
			return Alone
		case c.now >= c.settleBy:
			return TimedOut
		}
		return Settling
	}
	all := Alone
	for _, st := range c.keys {
		switch st.ready {
		case Settling:
			return Settling
		case TimedOut:
			all = TimedOut
		case Synced:
			if all != TimedOut {
				all = Synced
			}
		}
	}
	return all
}

// unready names the states whose limit has passed and that are not ready yet.
func (c *Core) unready() (keys []string) {
	for _, st := range c.keys {
		if st.ready == TimedOut && len(keys) < maxNamed {
			keys = append(keys, st.key)
		}
	}
	return keys
}

// String returns the readiness in lower case, as logs and metrics show it.
func (r Readiness) String() string {
	return [...]string{"settling", "synced", "alone", "timed_out"}[r]
}
