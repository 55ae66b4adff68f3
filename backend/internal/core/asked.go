package core

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// asked is this node's side of the exchanges that it asks for.
type asked struct {
	at     time.Duration // when a search is to be looked at
	starts bucket
	lastID uint64
	pulls  []*pull // that wait for an answer, at most one with each member
	late   []*pull // whose answers for busy states may still come
	walks  []*walk // that follow the answers for states that differ

	syncAt time.Duration // of the periodic comparison
	cycle  []*node       // the members that it goes through
}

// pull is one exchange that this node asked for.
type pull struct {
	id       uint64
	began    time.Duration
	node     *node
	reason   string
	keys     []*pullKey
	keySet   uint64 // of its member when it was asked, as it told it; 0: not known
	sent     bool
	blind    bool          // its member was not heard since this node is attached
	missed   bool          // and says hello now
	root     bool          // one digest stands for all
	deadline time.Duration // for the next sign of an answer
	limit    time.Duration // for its next frame, whatever pieces arrive
	ended    bool          // the answerer has sent all
	expected []string      // keys whose data is on its way though the end came first
	againAt  time.Duration // when a busy state may be asked for once more
}

// pullKey is one state in a pull.
type pullKey struct {
	state     *state
	digested  bool // its own state has told its digest, or that it has none
	digest    uint64
	hasDigest bool
	version   uint64 // of the state that has the digest
	entries   uint64 // one more than the state has, if it can be taken apart
	all       bool   // it wanted all numbers
	worth     Worth  // what it was answered with is worth
	stage     pullStage
}

type pullStage uint8

const (
	waiting pullStage = iota
	busyThere
	merging
	walking
	over
)

func (a *asked) init(now, pause time.Duration) {
	a.at, a.starts, a.syncAt = Never, newBucket(startsPerSecond, startsBurst), now+pause
}

// with returns the exchange under way with a node.
func (a *asked) with(p *node) *pull {
	for _, pl := range a.pulls {
		if pl.node == p {
			return pl
		}
	}
	return nil
}

// start begins an exchange of these states with a member, if the budget allows
// it.
func (a *asked) start(c *Core, p *node, keys []*state, reason string) bool {
	if len(keys) == 0 {
		return false
	}
	if !a.starts.take(c.now, 1) {
		c.note(NoteLimited, p, "", 1, "exchanges")
		return false
	}
	a.lastID++
	pl := &pull{id: a.lastID, began: c.now, node: p, keySet: p.keySet, reason: reason, deadline: c.now + digestPatience}
	a.pulls = append(a.pulls, pl)
	for _, st := range keys {
		k := &pullKey{state: st, version: st.version, all: !c.isReady(st) || st.stale}
		pl.keys = append(pl.keys, k)
		st.pull, st.news, st.digesting = pl, false, true
		if p.known && p.worth == Joining {
			st.early++
		}
	}
	for _, k := range pl.keys {
		c.emit(Marshal{Job: c.job(nil, func(e Event) { a.digested(c, pl, k, e) }), Key: k.state.key, OnlyDigest: true, Whole: c.whole(k.state, p)})
	}
	return true
}

// whole reports whether a state is exchanged whole with a member: what is given to
// one would go to all, or that one knows no entries.
func (c *Core) whole(st *state, p *node) bool { return !c.transport.Unicast || p.wholes[st.key] }

// digested handles the digest of an own state.
func (a *asked) digested(c *Core, pl *pull, k *pullKey, e Event) {
	k.state.digesting = false
	m, ok := e.(Marshalled)
	if !ok || k.stage == over {
		return
	}
	k.digested, k.digest, k.hasDigest = true, m.Digest, m.HasDigest && m.Err == nil
	k.entries = m.Entries
	if k.hasDigest {
		k.state.hasDigest(m.Digest, k.entries > 0)
		k.state.digestOf = k.version
	}
	if !pl.sent && !slices.ContainsFunc(pl.keys, func(k *pullKey) bool { return !k.digested }) {
		a.send(c, pl)
	}
}

// send sends the pull, once the own states have told their digests. Those that
// did not are busy, and are tried later.
func (a *asked) send(c *Core, pl *pull) {
	pl.keys = slices.DeleteFunc(pl.keys, func(k *pullKey) bool {
		if k.digested {
			return false
		}
		k.stage = over
		a.release(c, pl, k)
		c.searchSoon(k.state, c.now+busyPause)
		c.metAsked(k.state, pl.node, unclear)
		return true
	})
	if len(pl.keys) == 0 {
		a.remove(pl)
		return
	}
	m := &Pull{To: pl.node.Instance, ID: pl.id}
	pl.root = len(pl.keys) > rootAbove && len(pl.keys) == len(c.keys) && !pl.sent &&
		!slices.ContainsFunc(pl.keys, func(k *pullKey) bool { return !k.hasDigest })
	if pl.root {
		m.HasRoot = true
		m.Root, m.Keys = rootOf(func(yield func(string, uint64)) {
			for _, k := range pl.keys {
				yield(k.state.key, k.digest)
			}
		})
	}
	for _, k := range pl.keys {
		it := PullItem{Key: k.state.key, HasDigest: k.hasDigest, Digest: k.digest, All: k.all, Holes: c.holesOf(k.state), Entries: k.entries}
		if !pl.root || len(it.Holes) > 0 || it.All {
			m.Items = append(m.Items, it)
		}
	}
	if !pl.sent {
		c.note(NoteExchange, pl.node, "", uint64(len(pl.keys)), pl.reason)
	}
	pl.sent, pl.blind = true, pl.node.heardAt < c.attachedAt
	pl.deadline, pl.limit = c.now+answerPatience, c.now+piecesFor
	c.send(pl.node.Instance, m)
}

// rootOf folds the digests of all states into one.
func rootOf(all func(yield func(key string, digest uint64))) (root, n uint64) {
	var b [16]byte
	all(func(key string, digest uint64) {
		binary.LittleEndian.PutUint64(b[:], hashOf(key))
		binary.LittleEndian.PutUint64(b[8:], digest)
		root += xxhash.Sum64(b[:])
		n++
	})
	return root, n
}

// onAnswer handles one frame of an answer.
func (a *asked) onAnswer(c *Core, p *node, m *Answer) {
	if p == nil {
		return
	}
	i := slices.IndexFunc(m.For, func(f Asker) bool { return f.Instance == c.cfg.Self.Instance })
	if i < 0 {
		return
	}
	pl := a.find(p, m.For[i].ID)
	if pl == nil {
		return // answered before, or given up
	}
	p.heard(c.now)
	pl.blind, pl.missed = false, false
	pl.deadline, pl.limit = c.now+answerPatience, c.now+piecesFor
	if m.Differ && pl.root {
		a.lastID++
		pl.id = a.lastID
		a.send(c, pl)
		return
	}
	rest := (*AnswerItem)(nil)
	for i := range m.Items {
		it := &m.Items[i]
		if it.Key == "" && it.Outcome == Equal {
			rest = it
			continue
		}
		if k := pl.key(it.Key); k != nil {
			a.onItem(c, pl, k, it)
		}
	}
	if rest != nil && pl.root {
		for _, k := range pl.keys {
			a.onItem(c, pl, k, &AnswerItem{Outcome: Equal, Worth: rest.Worth})
		}
	}
	if m.End {
		pl.ended = true
		for _, k := range pl.keys {
			if k.stage != waiting {
				continue
			}
			if slices.Contains(m.Sent, k.state.key) {
				pl.expected = append(pl.expected, k.state.key)
			} else {
				a.over(c, pl, k, unclear)
			}
		}
		if len(pl.expected) > 0 {
			pl.deadline = c.now + piecesPatience
		}
	}
	a.sweep(c, pl)
}

func (a *asked) find(p *node, id uint64) *pull {
	for _, pl := range append(a.pulls, a.late...) {
		if pl.node == p && pl.id == id && pl.sent {
			return pl
		}
	}
	return nil
}

func (pl *pull) key(key string) *pullKey {
	i := slices.IndexFunc(pl.keys, func(k *pullKey) bool { return k.state.key == key })
	if i < 0 {
		return nil
	}
	return pl.keys[i]
}

// onItem handles the answer for one state.
func (a *asked) onItem(c *Core, pl *pull, k *pullKey, it *AnswerItem) {
	if k.stage != waiting && k.stage != busyThere || k.state.gone {
		return
	}
	k.worth = it.Worth
	if it.Worth != Joining && (it.Outcome == Busy || it.Outcome == Later) {
		k.state.withholds(pl.node)
	}
	switch it.Outcome {
	case Equal:
		c.account(k, it.Numbers)
		c.answeredBy(k.state, it.Worth)
		a.over(c, pl, k, answeredHere)
	case Data:
		if k.entries > 0 {
			pl.node.givesWhole(k.state)
		}
		k.stage = merging
		job := c.job(nil, func(e Event) { a.merged(c, pl, k, it, e) })
		c.emit(Merge{Job: job, Key: k.state.key, Data: it.Data, Digest: true})
	case Apart:
		switch {
		case k.entries == 0:
		case c.answered.crosses(c, pl, k):
			a.over(c, pl, k, unclear)
		default:
			a.walk(c, pl, k, it)
		}
	case Lacking:
		if told := pl.node.keySet; told == c.keySet || pl.keySet != 0 && told != pl.keySet { // which word is the later one?
			a.over(c, pl, k, unclear)
		} else {
			a.over(c, pl, k, lacked)
		}
	case Busy:
		if k.stage == waiting {
			a.busy(c, pl, k)
		}
	default:
		a.over(c, pl, k, unclear)
	}
}

// merged notes that the data of an answer was merged, or could not be.
func (a *asked) merged(c *Core, pl *pull, k *pullKey, it *AnswerItem, e Event) {
	m, ok := e.(Merged)
	st := k.state
	if !ok || st.gone {
		a.over(c, pl, k, unclear)
		return
	}
	switch {
	case m.Full:
		a.over(c, pl, k, unclear)
		return
	case m.Err != nil:
		c.note(NoteRefused, pl.node, st.key, 1, m.Err.Error())
		a.over(c, pl, k, refused)
		return
	}
	quiet := st.version == k.version // nothing else has changed it meanwhile
	won := quiet && k.hasDigest && k.entries == 0 && m.HasDigest && m.Digest != k.digest && c.isReady(st) && (pl.reason == "joined" || pl.reason == "periodic")
	st.version++
	if m.HasDigest {
		st.hasDigest(m.Digest, false)
	}
	c.account(k, it.Numbers)
	c.answeredBy(st, it.Worth)
	differs := m.HasDigest && it.HasDigest && m.Digest != it.Digest
	if differs && pl.reason == "joined" {
		c.owe(st, pl.node)
	}
	if differs && quiet && k.hasDigest && c.misses(st) {
		st.doubted = true // what is missing may explain it, or not
		c.holes.at = min(c.holes.at, c.now+firstPause)
	}
	if differs && quiet && k.hasDigest && !c.misses(st) {
		if pl.reason != "joined" { // who joined, and is joined by this node, asks for itself
			c.push(st, pl.node)
		}
	} else if won {
		c.spread(st)
	} else if differs && !c.isReady(st) {
		st.early = 0 // what explains the difference is on its way: the next is asked, too
	}
	a.over(c, pl, k, answeredHere)
	a.sweep(c, pl)
}

// over handles what came of one state of a pull.
func (a *asked) over(c *Core, pl *pull, k *pullKey, o outcome) {
	if k.stage == over {
		return
	}
	k.stage = over
	a.release(c, pl, k)
	if k.state.stale && pl.began < k.state.staleAt {
		return // it shows nothing of what came since
	}
	if k.state.stale && o == answeredHere && k.worth == Joining && c.isReady(k.state) && c.anyBetter(k.state) {
		o = unclear // that one need not have what another has
	}
	c.asking(k.state, pl.node, o)
}

// busy notes that the answer for one state of a pull is long in coming. It is
// merged when it comes, and others are asked meanwhile.
func (a *asked) busy(c *Core, pl *pull, k *pullKey) {
	k.stage = busyThere
	a.release(c, pl, k)
	c.asking(k.state, pl.node, unclear)
}

// release lets the state be exchanged with others.
func (a *asked) release(c *Core, pl *pull, k *pullKey) {
	if k.state.pull == pl {
		k.state.pull = nil
	}
	a.at = c.now
}

// sweep removes the exchange from those that wait, once all that can come has.
func (a *asked) sweep(c *Core, pl *pull) {
	open, busy := false, false
	for _, k := range pl.keys {
		open = open || k.stage == waiting
		busy = busy || k.stage == busyThere
	}
	if open || !pl.ended && busy {
		return
	}
	a.remove(pl)
	if busy && !slices.Contains(a.late, pl) {
		pl.deadline, pl.againAt = c.now+latePatience, c.now+lateRetry
		if len(a.late) >= maxAnswers {
			a.late = a.late[1:]
		}
		a.late = append(a.late, pl)
	}
	if !busy {
		a.late = slices.DeleteFunc(a.late, func(l *pull) bool { return l == pl })
	}
	a.at = c.now
}

func (a *asked) remove(pl *pull) {
	a.pulls = slices.DeleteFunc(a.pulls, func(o *pull) bool { return o == pl })
}

// giveUp ends an exchange that brings no answer any more.
func (a *asked) giveUp(c *Core, pl *pull) {
	a.remove(pl)
	for _, k := range pl.keys {
		if k.stage == waiting {
			a.over(c, pl, k, noReply)
		}
	}
	a.at = c.now
}

// overdue notes that an exchange has had pieces alone for so long that they
// need not be of its answer.
func (a *asked) overdue(c *Core, pl *pull) {
	for _, k := range pl.keys {
		if k.stage == waiting {
			a.busy(c, pl, k)
		}
	}
	pl.ended = true
	a.sweep(c, pl)
}

// silent ends what is under way with a member that is not there.
func (a *asked) silent(c *Core, instance string) {
	for _, pl := range slices.Clone(a.pulls) {
		if pl.node.Instance == instance && pl.sent {
			a.giveUp(c, pl)
		}
	}
	a.endWalks(c, noReply, func(w *walk) bool { return w.pull.node.Instance == instance })
}

// returned notes that a member says hello. What it was asked before it was
// heard again it may not have heard: an answer has a moment left.
func (a *asked) returned(c *Core, p *node) {
	if pl := a.with(p); pl != nil && pl.sent && pl.blind && !pl.missed {
		pl.missed, pl.deadline = true, min(pl.deadline, c.now+joinPause)
	}
}

// askAgain ends an exchange with a member that was not there when it was asked,
// for another one with it.
func (a *asked) askAgain(c *Core, pl *pull) {
	a.remove(pl)
	for _, k := range pl.keys {
		if k.stage == waiting {
			k.stage = over
			a.release(c, pl, k)
			c.searchSoon(k.state, c.now)
		}
	}
}

// progress notes that a piece of something of that node has arrived.
func (a *asked) progress(c *Core, from string) {
	for _, pl := range a.pulls {
		if pl.node.Instance == from && pl.sent {
			pl.deadline = max(pl.deadline, min(c.now+answerPatience, pl.limit))
		}
	}
	for _, w := range a.walks {
		if w.pull.node.Instance == from && w.sent != nil {
			w.deadline = max(w.deadline, min(c.now+stepPatience, w.limit))
		}
	}
}

// abandon ends what is under way, without an outcome: this node was away.
func (a *asked) abandon(c *Core) {
	for _, pl := range a.pulls {
		for _, k := range pl.keys {
			if k.stage == waiting || k.stage == busyThere {
				k.stage = over
				a.release(c, pl, k)
			}
		}
	}
	for _, w := range slices.Clone(a.walks) {
		a.dropWalk(w)
		w.key.stage = over
		a.release(c, w.pull, w.key)
	}
	a.pulls, a.late, a.at = nil, nil, c.now
}

// due returns the exchanges whose time is over.
func (a *asked) due(now time.Duration) (due []*pull) {
	for _, pl := range a.pulls {
		if now >= pl.deadline {
			due = append(due, pl)
		}
	}
	return due
}
