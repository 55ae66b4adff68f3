package core

import (
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// walk is this node's side of an exchange of entries: it asks step by step in what
// the two states differ, merges what it lacks, and gives what the other one lacks.
// One step is under way at a time, and the next one waits for the Merge of what it
// brought.
type walk struct {
	pull     *pull
	key      *pullKey
	item     *AnswerItem // what began it
	steps    *reconcile.Walk
	step     uint64
	sent     *Walk // the step whose answer is to come; nil: the own state is at work
	tries    int
	deadline time.Duration // for a sign of the answer
	limit    time.Duration // for it, whatever pieces arrive
	merged   int           // entries
	refused  int
	spurned  int // bytes that one of the two refused
	useful   int // bytes that one of the two merged
	err      string
	bytes    int
	gone     bool   // the other one did not find something any more that it had when the walk began
	version  uint64 // of the state, if nothing else has changed it
	over     bool
}

// walk begins to exchange the entries of one state with who answered that they differ.
func (a *asked) walk(c *Core, pl *pull, k *pullKey, it *AnswerItem) {
	k.stage = walking
	if o, spurned := c.isSpurned(pl, k); spurned {
		a.over(c, pl, k, o)
		return
	}
	w := &walk{pull: pl, key: k, item: it, version: k.state.version}
	a.walks = append(a.walks, w)
	job := c.job(nil, func(e Event) { a.viewed(c, w, e) })
	c.emit(Marshal{Job: job, Key: k.state.key, Apart: true, Salt: it.Salt})
}

// viewed takes the first step, by the own entries as they are now.
func (a *asked) viewed(c *Core, w *walk, e Event) {
	m, ok := e.(Marshalled)
	switch {
	case w.over:
		return
	case !ok || m.Err != nil || m.View == nil:
		a.endWalk(c, w, unclear)
		return
	}
	steps, err := reconcile.NewWalk(m.View, w.item.Sketch)
	if err != nil {
		a.lied(c, w)
		return
	}
	if w.key.state.refusing {
		steps.Begin(c.rand.Uint64()) // what was left the last time may come first
	}
	w.steps = steps
	a.nextStep(c, w)
}

// nextStep has fetched what the other one lacks, and asks on.
func (a *asked) nextStep(c *Core, w *walk) {
	if w.isUseless() {
		a.leave(c, w)
		return
	}
	gives := w.steps.Gives(reconcile.MaxFound)
	for w.item.Worth == Joining && len(gives) > 0 { // it asks for itself, and would get them twice
		w.steps.Gave(len(gives))
		gives = w.steps.Gives(reconcile.MaxFound)
	}
	if len(gives) == 0 {
		a.sendStep(c, w, nil)
		return
	}
	job := c.job(nil, func(e Event) {
		f, ok := e.(Fetched)
		switch {
		case w.over:
		case !ok || f.Err != nil || f.Taken <= 0:
			a.endWalk(c, w, unclear)
		default:
			w.steps.Gave(f.Taken)
			a.sendStep(c, w, f.Entries)
		}
	})
	c.emit(Fetch{Job: job, Key: w.key.state.key, IDs: gives, Room: a.room()})
}

// room is how many bytes of entries a step may bring: all walks together have a
// bound.
func (a *asked) room() int { return max(roomLeast, min(roomMost, roomOfAll/max(len(a.walks), 1))) }

// sendStep sends the next step, with entries that the other one lacks. Where there is
// nothing left to send the walk is over.
func (a *asked) sendStep(c *Core, w *walk, entries [][]byte) {
	ask := w.steps.Next()
	more := len(w.steps.Gives(1)) > 0
	if ask == nil && len(entries) == 0 {
		if more { // what was fetched is gone
			a.nextStep(c, w)
		} else {
			a.walkedThrough(c, w)
		}
		return
	}
	if w.step++; w.step > maxSteps+uint64(w.bytes/roomLeast) {
		a.lied(c, w)
		return
	}
	m := &Walk{To: w.pull.node.Instance, ID: w.pull.id, Key: w.key.state.key, Step: w.step, Room: uint64(a.room()), Entries: entries, More: more}
	if ask != nil {
		m.Ask = *ask
	}
	w.bytes += SizeOf(entries)
	c.answered.bytes.spend(c.now, SizeOf(entries))
	w.sent, w.tries, w.limit = m, 0, c.now+piecesFor
	a.sayStep(c, w)
}

func (a *asked) sayStep(c *Core, w *walk) {
	w.tries++
	w.deadline = c.now + stepPatience
	c.send(w.sent.To, w.sent)
}

// onWalked handles the answer to a step.
func (a *asked) onWalked(c *Core, p *node, m *Walked) {
	i := slices.IndexFunc(a.walks, func(w *walk) bool {
		return w.pull.node == p && w.sent != nil && w.sent.Key == m.Key && w.sent.Step == m.Step &&
			m.For == Asker{c.cfg.Self.Instance, w.sent.ID}
	})
	if i < 0 {
		return // answered before, or given up
	}
	w := a.walks[i]
	p.heard(c.now)
	if m.Outcome != Apart {
		a.endWalk(c, w, unclear)
		return
	}
	brought := len(m.Entries)
	if m.Gone {
		brought++
	}
	if w.steps.Took(&m.Reply, brought) != nil {
		a.lied(c, w)
		return
	}
	w.mergedOf(w.sent.Entries, int(min(m.Refused, uint64(len(w.sent.Entries)))))
	w.sent = nil
	w.gone = w.gone || m.Gone
	if len(m.Entries) == 0 {
		a.nextStep(c, w)
		return
	}
	w.bytes += SizeOf(m.Entries)
	job := c.job(nil, func(e Event) { a.mergedEntries(c, w, m.Entries, e) })
	c.emit(Merge{Job: job, Key: w.key.state.key, Entries: m.Entries, Home: m.Home})
}

// mergedEntries notes that the entries of a step were merged, or could not be.
func (a *asked) mergedEntries(c *Core, w *walk, entries [][]byte, e Event) {
	m, ok := e.(Merged)
	st := w.key.state
	if ok && !m.Full && !st.gone {
		if st.version == w.version {
			w.version++
		}
		st.version++
	}
	switch {
	case w.over:
		return
	case !ok || m.Full || st.gone:
		a.endWalk(c, w, unclear)
		return
	case m.Refused > 0:
		w.refused += m.Refused
		w.err = m.Err.Error()
	}
	w.mergedOf(entries, m.Refused)
	w.merged += len(entries) - m.Refused
	a.nextStep(c, w)
}

// walkedThrough notes that the two states have no difference left. What came of it
// shows by the digest.
func (a *asked) walkedThrough(c *Core, w *walk) {
	if w.merged == 0 {
		a.conclude(c, w, false)
		return
	}
	k := w.key
	job := c.job(nil, func(e Event) {
		m, ok := e.(Marshalled)
		if w.over {
			return
		}
		known := ok && m.Err == nil && m.HasDigest && k.state.version == w.version
		if known {
			k.state.hasDigest(m.Digest, true)
		}
		a.conclude(c, w, known && k.hasDigest && m.Digest != k.digest)
	})
	c.emit(Marshal{Job: job, Key: k.state.key, OnlyDigest: true})
}

// conclude ends a walk that has come through. What was refused stays aside: all else
// is merged, and no number is covered. Where something was gone there may be something
// else in its place, which another walk brings.
func (a *asked) conclude(c *Core, w *walk, changed bool) {
	st := w.key.state
	if w.refused > 0 {
		c.note(NoteRefused, w.pull.node, st.key, uint64(w.refused), w.err)
	}
	if w.gone {
		a.endWalk(c, w, unclear)
		return
	}
	won := changed && c.isReady(st) && (w.pull.reason == "joined" || w.pull.reason == "periodic")
	if w.refused == 0 {
		c.account(w.key, w.item.Numbers)
	}
	c.answeredBy(st, w.item.Worth)
	if won {
		c.spread(st)
	}
	a.endWalk(c, w, answeredHere)
}

// leave ends a walk that brings little but what is refused.
func (a *asked) leave(c *Core, w *walk) {
	if w.refused == 0 { // the other one does
		a.endWalk(c, w, unclear)
		return
	}
	c.note(NoteRefused, w.pull.node, w.key.state.key, uint64(w.refused), w.err)
	a.endWalk(c, w, refused)
}

// lied ends a walk whose other side says what cannot be.
func (a *asked) lied(c *Core, w *walk) {
	c.reject(w.pull.node.Instance, "walk")
	a.endWalk(c, w, unclear)
}

func (a *asked) endWalk(c *Core, w *walk, o outcome) {
	w.remember(c)
	a.dropWalk(w)
	a.over(c, w.pull, w.key, o)
	a.sweep(c, w.pull)
}

// walksThrough reports whether a walk through the state is under way.
func (a *asked) walksThrough(st *state) bool {
	return slices.ContainsFunc(a.walks, func(w *walk) bool { return w.key.state == st })
}

// compares reports whether the state is compared with a member by a walk, or, where this
// node is the one that goes on, is about to be.
func (a *asked) compares(st *state, p *node, goesOn bool) bool {
	if slices.ContainsFunc(a.walks, func(w *walk) bool { return w.key.state == st && w.pull.node == p }) {
		return true
	}
	pl := a.with(p)
	return goesOn && pl != nil && slices.ContainsFunc(pl.keys, func(k *pullKey) bool {
		return k.state == st && k.stage == waiting && (k.entries > 0 || !k.digested)
	})
}

// crosses reports whether who answers that a state differs walks through it here since this
// node has asked, and is the one that goes on.
func (a *answered) crosses(c *Core, pl *pull, k *pullKey) bool {
	return pl.node.Instance < c.cfg.Self.Instance && c.isReady(k.state) && !k.all && !c.misses(k.state) &&
		slices.ContainsFunc(a.guests, func(g *guest) bool { return g.node == pl.node && g.state == k.state && g.began >= pl.began })
}

// dropWalk forgets a walk.
func (a *asked) dropWalk(w *walk) {
	w.over, w.sent = true, nil
	a.walks = slices.DeleteFunc(a.walks, func(o *walk) bool { return o == w })
}

// endWalks ends the walks that are of that kind.
func (a *asked) endWalks(c *Core, o outcome, of func(w *walk) bool) {
	for _, w := range slices.Clone(a.walks) {
		if of(w) {
			a.endWalk(c, w, o)
		}
	}
}

// tickWalks says again what was not answered in time, and gives up after some times.
func (a *asked) tickWalks(c *Core) {
	for _, w := range slices.Clone(a.walks) {
		switch {
		case w.sent == nil || c.now < w.deadline:
		case w.tries < stepTries && c.now < w.limit:
			a.sayStep(c, w)
		default:
			a.endWalk(c, w, noReply)
		}
	}
}
