package core

import (
	"slices"
	"strings"
	"time"
)

// state is a registered state: what this node has said for its key, what it has
// received, and how far its exchange is.
type state struct {
	key     string
	queue   int // how many updates may wait; 0: any number
	addedAt time.Duration
	gone    bool

	assigned uint64 // of this node's own numbers
	former   uint64 // those of a state that was registered before: this one need not hold them
	own      Ranges // which of those a merged exchange had, or nobody has
	sent     uint64
	sentAt   time.Duration
	earlier  [2]mark // what had been sent some time ago
	kept     kept
	tell     int // heartbeats that are still to tell of a change
	served   window
	queuedUp bool // in Core.changes

	streams []*stream // of every origin, in the order in which they were first heard
	pending int       // updates in the queue
	merged  uint64    // updates whose Merge has returned
	backlog uint64    // what merged must reach before this node has caught up
	version uint64    // grows with whatever may change the state

	overflows int // in a row, for the back-off
	fullAt    time.Duration
	fullUntil time.Duration // when what was dropped may be asked for

	ready     Readiness
	limitAt   time.Duration // for readiness
	cold      bool          // merged from a joining member
	withheld  []*node       // who are ready with it, and could not tell it
	fed       bool          // merged from, or found equal to, any member
	early     int           // joining members that were asked for what they have, before the cold start
	compare   bool          // a comparison with any other is open
	stale     bool          // that comparison is to show what came while this node was away
	staleAt   time.Duration // since when: an exchange that began before does not show it
	unshown   bool          // nobody who is there could show it: whoever comes may
	search    search
	pull      *pull   // the exchange under way
	digesting bool    // a digest that it was asked for is to come
	marshals  int     // that others have asked for and that are to come
	met       []*node // that appeared ready, and one of which it is to be compared with
	metTries  int
	owed      []debt
	news      bool // it holds something that the others may not, to be compared soon
	refusing  bool // the last walk brought entries that one of the two refused
	doubted   bool // it differed from another's while it missed something: to be compared again when it does not

	digest   uint64 // the last known
	digestOf uint64 // the version that had it
	digested bool
	apart    bool // it is of the entries
}

// hasDigest notes the digest of the present version.
func (st *state) hasDigest(digest uint64, apart bool) {
	st.digest, st.digestOf, st.digested, st.apart = digest, st.version, true, apart
}

// mark is a number, and when it was the last.
type mark struct {
	number uint64
	at     time.Duration
}

// sentUp notes that the numbers up to one have been sent.
func (st *state) sentUp(now time.Duration, number uint64) {
	if now-st.earlier[0].at >= holdDelay {
		st.earlier = [2]mark{{st.sent, now}, st.earlier[0]}
	}
	st.sent, st.sentAt = number, now
}

// withholds notes that a member is ready with the state, and could not tell it.
func (st *state) withholds(p *node) {
	st.withheld = slices.DeleteFunc(st.withheld, func(q *node) bool { return q == p || !q.present() })
	st.withheld = append(st.withheld, p)
}

// lacksOwn reports whether this node said something of a state that was registered
// before and has not got it back: one that missed an update has the rest of them.
func (st *state) lacksOwn() bool { return st.own.Count() < st.former }

// held returns the own numbers that this node may claim to hold: one that
// broadcasts before its state holds the update gets a moment for it.
func (st *state) held(now time.Duration) Ranges {
	last := st.earlier[1].number
	switch {
	case now-st.sentAt >= holdDelay:
		last = st.sent
	case now-st.earlier[0].at >= holdDelay:
		last = st.earlier[0].number
	}
	if last <= st.former {
		return nil
	}
	return Ranges{{st.former + 1, last}}
}

// window is what was done for all just now.
type window struct {
	until   time.Duration
	numbers Ranges // that were sent again
	asked   Ranges // that all were told of
}

// isFree reports whether an exchange of the state can begin: none is under way,
// it is not busy, and its queue is at most half full.
func (st *state) isFree() bool {
	return st.pull == nil && !st.digesting && (st.queue == 0 || st.pending <= st.queue/2)
}

func (c *Core) onStateAdded(e StateAdded) {
	if c.states[e.Key] != nil || e.Key == "" || len(e.Key) > maxKeyBytes {
		return
	}
	st := &state{key: e.Key, queue: e.Queue, addedAt: c.now, limitAt: c.now + c.cfg.Settle}
	if old, ok := c.retired[e.Key]; ok { // given numbers belong to the incarnation
		st.assigned, st.sent, st.former = old.assigned, old.sent, old.assigned
		delete(c.retired, e.Key)
	}
	st.search.at = Never
	c.states[e.Key] = st
	i, _ := slices.BinarySearchFunc(c.keys, e.Key, func(st *state, key string) int { return strings.Compare(st.key, key) })
	c.keys = slices.Insert(c.keys, i, st)
	c.keySet ^= hashOf(e.Key)
	c.changed = true
	if c.link == catchingUp { // it may have been there while this node was away
		st.stale, st.staleAt = true, c.now
	}
	c.recallMissed(st)
	c.tellMark()
	c.want(st, "add_state")
	c.readySoon()
}

func (c *Core) onStateRemoved(key string) {
	st := c.states[key]
	if st == nil {
		return
	}
	delete(c.states, key)
	c.keys = slices.DeleteFunc(c.keys, func(k *state) bool { return k == st })
	c.changes = slices.DeleteFunc(c.changes, func(k *state) bool { return k == st })
	c.keySet ^= hashOf(key)
	c.keptAll -= st.kept.clear()
	for _, s := range slices.Clone(st.streams) {
		c.dropStream(s)
	}
	st.gone, st.compare, st.stale = true, false, false
	c.asked.endWalks(c, unclear, func(w *walk) bool { return w.key.state == st })
	if st.assigned > 0 {
		c.retire(st)
	}
	c.changed = true
	c.caughtUp()
	c.readySoon()
}

// retire remembers the numbers that were given for a key: they belong to the
// incarnation.
func (c *Core) retire(st *state) {
	if len(c.retired) >= maxRetired {
		clear(c.retired)
		c.raise(c.incarnation, "too many keys were removed to know the numbers of all")
	}
	c.retired[st.key] = numbersOf{st.assigned, st.sent}
}

// numbersOf are this node's own numbers for a key without a state.
type numbersOf struct{ assigned, sent uint64 }
