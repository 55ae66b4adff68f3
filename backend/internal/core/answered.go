package core

import (
	"slices"
	"time"
)

// answered is this node's side of the exchanges that others ask for.
type answered struct {
	waiting []request // one of each asker
	early   []early   // of nodes that are not known as members yet
	at      time.Duration
	under   []*answering
	guests  []*guest
	starts  bucket
	bytes   bucket // of all that this node sends because somebody asked
	pushes  bucket // that it merges
}

type request struct {
	node *node
	pull *Pull
}

// early is a pull that came before the heartbeat of who sent it. It waits for
// that: the asker would wait for an answer for as long.
type early struct {
	from  string
	pull  *Pull
	until time.Duration
}

// answering is one answer under way, to one asker or to several that asked the
// same.
type answering struct {
	asker  []Asker
	keys   []*answerKey
	busyAt time.Duration // when a state that has not answered is busy
	root   *Pull         // the digests of all states are still to be compared as one
	ended  bool
	sent   []string
	ready  []AnswerItem  // to be sent, as one frame
	size   int           // bytes of data in it
	sendAt time.Duration // at last, if nothing completes the frame before
}

type answerKey struct {
	key     string
	state   *state
	item    PullItem
	numbers []Numbers
	done    bool
	digest  uint64
	digests bool // it has one
}

func (a *answered) init() {
	a.at = Never
	a.starts = newBucket(answersPerSecond, answersBurst)
	a.bytes = newBucket(bytesPerSecond, bytesBurst)
	a.pushes = newBucket(answersPerSecond, answersBurst)
}

// onPull notes that a member asks.
func (a *answered) onPull(c *Core, from string, p *node, m *Pull) {
	switch {
	case m.To == "":
		c.reject(from, "pull")
		return
	case m.To != c.cfg.Self.Instance:
		return
	case p != nil && p.life == leaving: // it needs nothing any more
		return
	case p == nil || !p.present():
		a.onEarly(c, from, m)
		return
	}
	p.heard(c.now)
	c.paid(p, m)
	for _, it := range m.Items { // it may have lacked that state once
		delete(p.lacks, it.Key)
		if it.Entries > 0 {
			delete(p.wholes, it.Key)
		}
	}
	i := slices.IndexFunc(a.waiting, func(r request) bool { return r.node == p })
	switch {
	case i >= 0:
		a.waiting[i].pull = m
	case len(a.waiting) >= maxAskers:
		c.note(NoteLimited, p, "", 1, "askers")
		return
	default:
		a.waiting = append(a.waiting, request{p, m})
	}
	wait := time.Duration(0)
	if !c.transport.Unicast && !m.small() {
		wait = shareWindow
	}
	a.at = min(a.at, c.now+wait)
}

// onEarly notes that somebody asks who is not known as a member yet.
func (a *answered) onEarly(c *Core, from string, m *Pull) {
	a.early = slices.DeleteFunc(a.early, func(e early) bool { return e.from == from })
	if len(a.early) >= maxEarly {
		c.reject(from, "pull")
		return
	}
	a.early = append(a.early, early{from, m, c.now + answerPatience})
}

// appeared takes up what a node has asked that is a member now.
func (a *answered) appeared(c *Core, p *node) {
	i := slices.IndexFunc(a.early, func(e early) bool { return e.from == p.Instance })
	if i >= 0 {
		m := a.early[i].pull
		a.early = slices.Delete(a.early, i, i+1)
		a.onPull(c, p.Instance, p, m)
	}
}

// small reports whether a pull is likely answered with a few bytes: one that
// compares all states by one digest.
func (m *Pull) small() bool { return m.HasRoot }

// tick answers who waits, and tells of states that are busy.
func (a *answered) tick(c *Core) {
	if c.now >= a.at {
		a.at = Never
		a.serve(c)
	}
	for len(a.early) > 0 && c.now >= a.early[0].until {
		c.reject(a.early[0].from, "pull")
		a.early = slices.Delete(a.early, 0, 1)
	}
	for _, an := range a.open() {
		switch {
		case c.now >= an.busyAt:
			a.end(c, an)
		case c.now >= an.sendAt:
			a.flush(c, an)
		}
	}
	a.tickGuests(c)
}

func (a *answered) next(*Core) time.Duration {
	at := min(a.at, a.nextGuest())
	if len(a.early) > 0 {
		at = min(at, a.early[0].until)
	}
	for _, an := range a.under {
		if !an.ended {
			at = min(at, an.busyAt, an.sendAt)
		}
	}
	return at
}

// serve begins to answer who waits. Those that ask the same are answered as one.
func (a *answered) serve(c *Core) {
	waiting := slices.DeleteFunc(a.waiting, func(r request) bool { return r.node.life != live })
	a.waiting = nil
	for len(waiting) > 0 {
		first := waiting[0]
		var group, others []request
		for _, r := range waiting {
			if r.node == first.node || !c.transport.Unicast && sameDigests(r.pull, first.pull) {
				group = append(group, r)
			} else {
				others = append(others, r)
			}
		}
		if len(a.open()) >= maxAnswers {
			a.waiting = waiting // served when one of them ends
			return
		}
		waiting = others
		a.begin(c, group)
	}
}

// open returns the answers that have not ended.
func (a *answered) open() (open []*answering) {
	for _, an := range a.under {
		if !an.ended {
			open = append(open, an)
		}
	}
	return open
}

func sameDigests(a, b *Pull) bool {
	return a.HasRoot == b.HasRoot && a.Root == b.Root && a.Keys == b.Keys &&
		slices.EqualFunc(a.Items, b.Items, func(x, y PullItem) bool {
			return x.Key == y.Key && x.HasDigest == y.HasDigest && x.Digest == y.Digest && x.All == y.All
		})
}

// begin begins one answer.
func (a *answered) begin(c *Core, group []request) {
	an := &answering{busyAt: c.now + busyAfter, sendAt: Never}
	for _, r := range group {
		an.asker = append(an.asker, Asker{r.node.Instance, r.pull.ID})
	}
	pull := group[0].pull
	if !a.starts.take(c.now, 1) || a.bytes.next(c.now) > c.now {
		c.note(NoteLimited, group[0].node, "", 1, "answers")
		for _, it := range pull.Items {
			an.ready = append(an.ready, AnswerItem{Key: it.Key, Outcome: Later})
		}
		a.finish(c, an)
		return
	}
	a.under = append(a.under, an)
	items := map[string]PullItem{}
	for _, r := range group {
		for _, it := range r.pull.Items {
			if old, ok := items[it.Key]; ok { // several ask: what one of them lacks is told to all
				it.Holes = append(slices.Clone(old.Holes), it.Holes...)
				it.All = it.All || old.All
			}
			items[it.Key] = it
		}
	}
	if pull.HasRoot {
		an.root = pull
		for _, st := range c.keys {
			it := items[st.key]
			it.Key = st.key
			an.keys = append(an.keys, &answerKey{key: st.key, state: st, item: it})
		}
	} else {
		seen := map[string]bool{}
		for _, it := range pull.Items {
			if !seen[it.Key] {
				seen[it.Key] = true
				an.keys = append(an.keys, &answerKey{key: it.Key, state: c.states[it.Key], item: items[it.Key]})
			}
		}
	}
	for _, k := range an.keys {
		if k.state == nil {
			k.done = true
			an.ready = append(an.ready, AnswerItem{Key: k.key, Outcome: Lacking})
			continue
		}
		if an.root == nil && a.isFilling(c, group[0].node, k) {
			k.done = true
			an.ready = append(an.ready, AnswerItem{Key: k.key, Outcome: Later})
			continue
		}
		if k.state.marshals >= maxMarshals { // it hangs
			k.done = true
			an.ready = append(an.ready, AnswerItem{Key: k.key, Outcome: Busy, Worth: c.worthOf(k.state)})
			continue
		}
		a.marshal(c, an, k)
	}
	a.sweep(c, an)
}

// isFilling reports whether a state is walked for as one that is not ready, and who asks
// is whole and misses nothing: it would look through what others have given meanwhile. It
// is given what this node alone has by the walk, or asks later.
func (a *answered) isFilling(c *Core, asker *node, k *answerKey) bool {
	return !c.isReady(k.state) && asksToCompare(asker, k) && c.asked.walksThrough(k.state)
}

// asksToCompare reports whether a member asks for nothing that it needs.
func asksToCompare(asker *node, k *answerKey) bool {
	return asker.known && asker.worth == Whole && !k.item.All && len(k.item.Holes) == 0
}

// isCompared reports whether who asks to compare a state that differs is told to ask later,
// since this node walks through that member's, or is about to: entries move both ways. Of
// two that ask each other at once the one of the lower instance goes on.
func (a *answered) isCompared(c *Core, asker *node, k *answerKey) bool {
	return asker != nil && c.isReady(k.state) && asksToCompare(asker, k) && c.asked.compares(k.state, asker, c.cfg.Self.Instance < asker.Instance)
}

// marshal has the state of one key marshalled, or only its digest told.
func (a *answered) marshal(c *Core, an *answering, k *answerKey) {
	e := Marshal{Key: k.key, OnlyDigest: an.root != nil, Apart: k.item.Entries > 0 && len(an.asker) == 1}
	e.Whole = !c.transport.Unicast || an.root == nil && !e.Apart
	if k.item.HasDigest {
		e.Unless = []uint64{k.item.Digest}
	}
	begun := func() { k.numbers = c.numbersFor(k.state, k.item) }
	k.state.marshals++
	e.Job = c.job(begun, func(ev Event) { a.marshalled(c, an, k, ev) })
	c.emit(e)
}

// marshalled notes that a state was marshalled for an answer.
func (a *answered) marshalled(c *Core, an *answering, k *answerKey, e Event) {
	k.state.marshals--
	m, ok := e.(Marshalled)
	if !ok || k.done {
		return
	}
	k.done = true
	if an.root != nil {
		k.digest, k.digests = m.Digest, m.HasDigest && m.Err == nil
		if an.done() {
			a.compareRoots(c, an)
		}
		return
	}
	it := AnswerItem{Key: k.key, Worth: c.worthOf(k.state), HasDigest: m.HasDigest, Digest: m.Digest, Numbers: k.numbers}
	switch {
	case k.state.gone:
		it = AnswerItem{Key: k.key, Outcome: Lacking}
	case m.Err != nil:
		it = AnswerItem{Key: k.key, Outcome: Later, Worth: it.Worth}
	case m.HasDigest && k.item.HasDigest && m.Digest == k.item.Digest:
		it.Outcome = Equal
	case a.bytes.next(c.now) > c.now:
		it = AnswerItem{Key: k.key, Outcome: Later, Worth: it.Worth}
		c.note(NoteLimited, nil, k.key, 1, "bytes")
	case m.View != nil:
		it.Outcome = Later
		if !a.isCompared(c, c.roster.get(an.asker[0].Instance), k) && a.admit(c, an.asker[0], k.state, m) {
			it.Outcome, it.Salt, it.Sketch = Apart, m.View.Salt(), m.View.Sketch(k.item.Entries-1)
			a.bytes.spend(c.now, 8*len(it.Sketch))
		}
	default:
		it.Outcome, it.Data = Data, m.Data
		a.bytes.spend(c.now, len(m.Data))
		c.note(NoteAnswered, c.roster.get(an.asker[0].Instance), k.key, uint64(len(m.Data)), "")
		an.sent = append(an.sent, k.key)
	}
	an.ready = append(an.ready, it)
	an.size += len(it.Data)
	switch {
	case an.ended, an.size >= answerBatch && !an.done(): // what was busy follows the end
		a.flush(c, an)
	case it.Outcome == Data:
		an.sendAt = min(an.sendAt, c.now+answerPause)
	}
	a.sweep(c, an)
}

// flush sends what is ready of an answer.
func (a *answered) flush(c *Core, an *answering) {
	c.send(an.to(), &Answer{For: an.asker, Items: an.ready})
	an.ready, an.size, an.sendAt = nil, 0, Never
}

// done reports whether all states have answered.
func (an *answering) done() bool {
	return !slices.ContainsFunc(an.keys, func(k *answerKey) bool { return !k.done })
}

// to is whom the answer is sent to.
func (an *answering) to() string {
	if len(an.asker) == 1 {
		return an.asker[0].Instance
	}
	return ""
}

// compareRoots compares the digests of all states as one.
func (a *answered) compareRoots(c *Core, an *answering) {
	root, n := rootOf(func(yield func(string, uint64)) {
		for _, k := range an.keys {
			if k.digests {
				yield(k.key, k.digest)
			}
		}
	})
	equal := root == an.root.Root && n == an.root.Keys
	m := &Answer{For: an.asker, End: true, Differ: !equal}
	if equal {
		worth := Whole
		for _, k := range an.keys {
			worth = min(worth, c.worthOf(k.state))
			if len(k.numbers) > 0 {
				m.Items = append(m.Items, AnswerItem{Key: k.key, Outcome: Equal, Worth: c.worthOf(k.state), Numbers: k.numbers})
			}
		}
		m.Items = append(m.Items, AnswerItem{Outcome: Equal, Worth: worth})
	}
	an.ended = true
	a.drop(c, an)
	c.send(an.to(), m)
}

// sweep ends the answer once all states have answered.
func (a *answered) sweep(c *Core, an *answering) {
	if !an.done() {
		return
	}
	if !an.ended {
		a.finish(c, an)
	}
	a.drop(c, an)
}

// end tells which states are busy. Their answers follow, if they come.
func (a *answered) end(c *Core, an *answering) {
	if an.root != nil { // not worth to wait for: the asker sends a digest a state
		an.ended = true
		for _, k := range an.keys {
			k.done = true
		}
		a.drop(c, an)
		c.send(an.to(), &Answer{For: an.asker, End: true, Differ: true})
		return
	}
	for _, k := range an.keys {
		if !k.done {
			an.ready = append(an.ready, AnswerItem{Key: k.key, Outcome: Busy, Worth: c.worthOf(k.state)})
		}
	}
	a.finish(c, an)
}

// finish sends the end of an answer.
func (a *answered) finish(c *Core, an *answering) {
	an.ended = true
	c.send(an.to(), &Answer{For: an.asker, Items: an.ready, End: true, Sent: an.sent})
	an.ready, an.size, an.sendAt = nil, 0, Never
	a.wakeWaiting(c)
}

func (a *answered) drop(c *Core, an *answering) {
	a.under = slices.DeleteFunc(a.under, func(o *answering) bool { return o == an })
	a.wakeWaiting(c)
}

// wakeWaiting has those served who wait for an answer to end.
func (a *answered) wakeWaiting(c *Core) {
	if len(a.waiting) > 0 {
		a.at = min(a.at, c.now)
	}
}
