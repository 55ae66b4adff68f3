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

	syncAt time.Duration // of the periodic comparison
	cycle  []*peer       // the members that it goes through
}

// pull is one exchange that this node asked for.
type pull struct {
	id       uint64
	began    time.Duration
	peer     *peer
	reason   string
	keys     []*pullKey
	sent     bool
	root     bool          // one digest stands for all
	deadline time.Duration // for the next sign of an answer
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
	all       bool   // it wanted all numbers
	stage     pullStage
}

type pullStage uint8

const (
	waiting pullStage = iota
	busyThere
	merging
	over
)

func (a *asked) init(now, pause time.Duration) {
	a.at, a.starts, a.syncAt = Never, newBucket(startsPerSecond, startsBurst), now+pause
}

// with returns the exchange under way with a peer.
func (a *asked) with(p *peer) *pull {
	for _, pl := range a.pulls {
		if pl.peer == p {
			return pl
		}
	}
	return nil
}

// againAt returns when a peer may be asked once more for a state that was busy
// and whose answer may still come.
func (a *asked) againAt(p *peer, st *state) (at time.Duration) {
	for _, pl := range a.late {
		if k := pl.key(st.key); pl.peer == p && k != nil && k.stage == busyThere {
			at = max(at, pl.againAt)
		}
	}
	return at
}

func (c *Core) syncPause() time.Duration {
	return c.cfg.Sync - c.cfg.Sync/10 + time.Duration(c.rand.Int64N(int64(c.cfg.Sync/5)+1))
}

// start begins an exchange of these states with a member, if the budget allows
// it.
func (a *asked) start(c *Core, p *peer, keys []*state, reason string) bool {
	if len(keys) == 0 {
		return false
	}
	if !a.starts.take(c.now, 1) {
		c.note(NoteLimited, p, "", 1, "exchanges")
		return false
	}
	a.lastID++
	pl := &pull{id: a.lastID, began: c.now, peer: p, reason: reason, deadline: c.now + digestPatience}
	a.pulls = append(a.pulls, pl)
	for _, st := range keys {
		k := &pullKey{state: st, version: st.version, all: !c.isReady(st) || st.stale}
		pl.keys = append(pl.keys, k)
		st.pull, st.news, st.digesting = pl, false, true
	}
	for _, k := range pl.keys {
		c.emit(Marshal{Job: c.job(nil, func(e Event) { a.digested(c, pl, k, e) }), Key: k.state.key, OnlyDigest: true})
	}
	return true
}

// digested takes in the digest of an own state.
func (a *asked) digested(c *Core, pl *pull, k *pullKey, e Event) {
	k.state.digesting = false
	m, ok := e.(Marshalled)
	if !ok || k.stage == over {
		return
	}
	k.digested, k.digest, k.hasDigest = true, m.Digest, m.HasDigest && m.Err == nil
	if k.hasDigest {
		k.state.digest, k.state.digestOf, k.state.digested = m.Digest, k.version, true
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
		return true
	})
	if len(pl.keys) == 0 {
		a.remove(pl)
		return
	}
	m := &Pull{To: pl.peer.Instance, ID: pl.id}
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
		it := PullItem{Key: k.state.key, HasDigest: k.hasDigest, Digest: k.digest, All: k.all, Holes: c.holesOf(k.state)}
		if !pl.root || len(it.Holes) > 0 || it.All {
			m.Items = append(m.Items, it)
		}
	}
	if !pl.sent {
		c.note(NoteExchange, pl.peer, "", uint64(len(pl.keys)), pl.reason)
	}
	pl.sent, pl.deadline = true, c.now+answerPatience
	c.send(pl.peer.Instance, m)
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

// holesOf are the numbers of a state that an exchange is to close.
func (c *Core) holesOf(st *state) (holes []Numbers) {
	for _, s := range st.streams {
		if len(s.missing) > 0 && s.peer.wasMember() {
			holes = append(holes, Numbers{s.peer.Instance, s.incarnation, slices.Clone(s.missing[:min(len(s.missing), maxWantRanges)])})
		}
	}
	return holes
}

// onAnswer takes in one frame of an answer.
func (a *asked) onAnswer(c *Core, p *peer, m *Answer) {
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
	p.heardAt = c.now
	p.beat.Heard()
	pl.deadline = c.now + answerPatience
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

func (a *asked) find(p *peer, id uint64) *pull {
	for _, pl := range append(a.pulls, a.late...) {
		if pl.peer == p && pl.id == id && pl.sent {
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

// onItem takes in the answer for one state.
func (a *asked) onItem(c *Core, pl *pull, k *pullKey, it *AnswerItem) {
	if k.stage != waiting && k.stage != busyThere || k.state.gone {
		return
	}
	switch it.Outcome {
	case Equal:
		c.account(k, it.Numbers)
		c.answeredBy(k.state, it.Worth)
		a.over(c, pl, k, answeredHere)
	case Data:
		k.stage = merging
		job := c.job(nil, func(e Event) { a.merged(c, pl, k, it, e) })
		c.emit(Merge{Job: job, Key: k.state.key, Data: it.Data, Digest: true})
	case Lacking:
		a.over(c, pl, k, lacked)
	case Busy:
		if k.stage == waiting {
			k.stage = busyThere
			a.release(c, pl, k)
			c.asking(k.state, pl.peer, unclear)
		}
	default:
		a.over(c, pl, k, unclear)
	}
}

// merged takes in that the data of an answer was merged, or could not be.
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
		c.note(NoteRefused, pl.peer, st.key, 1, m.Err.Error())
		a.over(c, pl, k, refused)
		return
	}
	quiet := st.version == k.version // nothing else has changed it meanwhile
	won := quiet && k.hasDigest && m.HasDigest && m.Digest != k.digest && c.isReady(st) && (pl.reason == "joined" || pl.reason == "periodic")
	st.version++
	if m.HasDigest {
		st.digest, st.digestOf, st.digested = m.Digest, st.version, true
	}
	c.account(k, it.Numbers)
	c.answeredBy(st, it.Worth)
	if m.HasDigest && it.HasDigest && m.Digest != it.Digest && quiet && k.hasDigest && !c.misses(st) {
		c.push(st, pl.peer)
	} else if won {
		c.spread(st)
	}
	a.over(c, pl, k, answeredHere)
	a.sweep(c, pl)
}

// misses reports whether updates are missing that explain a difference.
func (c *Core) misses(st *state) bool {
	return slices.ContainsFunc(st.streams, func(s *stream) bool { return len(s.missing) > 0 })
}

// account takes in the numbers that a merged answer holds.
func (c *Core) account(k *pullKey, numbers []Numbers) {
	for _, n := range numbers {
		if !n.Ranges.valid() || n.Origin == c.cfg.Self.Instance || n.Origin == "" || len(n.Origin) > maxInstanceBytes {
			continue
		}
		p := c.roster.get(n.Origin)
		if p == nil && k.all {
			if p = c.meet(Member{Instance: n.Origin}); p != nil {
				p.incarnation = min(n.Incarnation, maxRaise)
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
		} else {
			s.account(n.Ranges.And(s.missing))
		}
	}
}

// over takes in what came of one state of a pull.
func (a *asked) over(c *Core, pl *pull, k *pullKey, o outcome) {
	if k.stage == over {
		return
	}
	k.stage = over
	a.release(c, pl, k)
	if k.state.stale && pl.began < k.state.staleAt {
		return // it shows nothing of what came since
	}
	c.asking(k.state, pl.peer, o)
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
	if pl.reason == "joined" && pl.peer.life == live { // it may not have known this node yet
		c.joined = append(c.joined, pl.peer)
		c.joinedAt = min(c.joinedAt, c.now+busyPause)
	}
	a.at = c.now
}

// silent ends what is under way with a member that is not there.
func (a *asked) silent(c *Core, instance string) {
	for _, pl := range slices.Clone(a.pulls) {
		if pl.peer.Instance == instance && pl.sent {
			a.giveUp(c, pl)
		}
	}
}

// progress takes in that a piece of something of that node has arrived.
func (a *asked) progress(c *Core, from string) {
	for _, pl := range a.pulls {
		if pl.peer.Instance == from && pl.sent {
			pl.deadline = c.now + answerPatience
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
	a.pulls, a.late, a.at = nil, nil, c.now
}

// compare compares all states with one member.
func (a *asked) compare(c *Core, p *peer, reason string) {
	if a.with(p) != nil || !p.present() {
		return
	}
	a.start(c, p, c.free(func(st *state) bool { return !p.lacks[st.key] }), reason)
}

// free returns the states that no exchange is under way for, and whose queue has
// room.
func (c *Core) free(also func(*state) bool) (keys []*state) {
	for _, st := range c.keys {
		if st.isFree() && also(st) {
			keys = append(keys, st)
		}
	}
	return keys
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

// tick does what is due.
func (a *asked) tick(c *Core) {
	for _, pl := range a.due(c.now) {
		if pl.sent {
			a.giveUp(c, pl)
		} else {
			a.send(c, pl)
		}
	}
	if len(a.late) > 0 {
		a.late = slices.DeleteFunc(a.late, func(pl *pull) bool { return c.now >= pl.deadline })
	}
	if c.now >= a.syncAt {
		a.syncAt = c.now + c.syncPause()
		if c.link == attached && !c.closing {
			a.period(c)
		}
	}
	if c.now >= a.at {
		a.search(c)
	}
}

func (a *asked) next(c *Core) time.Duration {
	at := min(a.at, a.syncAt)
	for _, pl := range a.pulls {
		at = min(at, pl.deadline)
	}
	for _, pl := range a.late {
		at = min(at, pl.deadline)
	}
	return at
}

// period compares all states with the next member of the cycle, and those that
// it lacks with the next ones that have them.
func (a *asked) period(c *Core) {
	rest := c.keys
	for range 2 * len(c.roster.all) {
		if len(rest) == 0 {
			return
		}
		p := a.nextInCycle(c)
		if p == nil || len(a.pulls) >= maxPulls {
			return
		}
		if a.with(p) != nil {
			continue
		}
		var here, lacked []*state
		for _, st := range rest {
			switch {
			case p.lacks[st.key]:
				lacked = append(lacked, st)
			case st.isFree():
				here = append(here, st)
			}
		}
		if len(here) > 0 && !a.start(c, p, here, "periodic") {
			return
		}
		rest = lacked
	}
}

// nextInCycle returns the next of the members, shuffled anew when all were asked.
func (a *asked) nextInCycle(c *Core) *peer {
	for range 2 {
		for len(a.cycle) > 0 {
			p := a.cycle[0]
			a.cycle = a.cycle[1:]
			if p.life == live && !p.foreign() && c.roster.get(p.Instance) == p {
				return p
			}
		}
		for _, p := range c.roster.live {
			if !p.foreign() {
				a.cycle = append(a.cycle, p)
			}
		}
		c.rand.Shuffle(len(a.cycle), func(i, j int) { a.cycle[i], a.cycle[j] = a.cycle[j], a.cycle[i] })
	}
	return nil
}

// search asks for what states need.
func (a *asked) search(c *Core) {
	a.at = Never
	if c.link == down || c.link == unheard || c.closing {
		return // looked at when the link is up again
	}
	var due []*state
	for _, st := range c.keys {
		switch s := &st.search; {
		case st.news && st.isFree() && c.link == attached:
			a.news(c, st)
		case !s.open || st.pull != nil:
		case c.now < s.at:
			a.at = min(a.at, s.at)
		case !st.isFree():
			s.at = c.now + busyPause
			a.at = min(a.at, s.at)
		default:
			due = append(due, st)
		}
	}
	for len(due) > 0 {
		st := due[0]
		p, wait := c.candidate(st)
		if p == nil {
			due = due[1:]
			switch {
			case a.anyWith(c, st): // it is looked at when that exchange is over
				continue
			case wait != Never && len(st.search.tried) == 0:
				st.search.at = wait
			default:
				c.roundOver(st)
			}
			if st.search.open {
				a.at = min(a.at, st.search.at)
			}
			continue
		}
		if len(a.pulls) >= maxPulls {
			return // looked at when one of them ends
		}
		var keys, others []*state
		for _, st := range due {
			if !p.lacks[st.key] && !slices.Contains(st.search.tried, p) && len(st.search.tried) < maxAsked {
				keys = append(keys, st)
			} else {
				others = append(others, st)
			}
		}
		if !a.start(c, p, keys, st.search.reason) {
			a.at = a.starts.next(c.now)
			return
		}
		due = others
	}
}

// anyWith reports whether an exchange is under way with a member that the state
// could be asked of next.
func (a *asked) anyWith(c *Core, st *state) bool {
	return len(st.search.tried) < maxAsked && slices.ContainsFunc(a.pulls, func(pl *pull) bool {
		return pl.peer.present() && !pl.peer.lacks[st.key] && !slices.Contains(st.search.tried, pl.peer)
	})
}

// spread has the state compared with the next member soon: it holds something
// that others may lack.
func (c *Core) spread(st *state) {
	st.news = true
	c.asked.at = c.now
}

// news compares what states hold with the next member, before the period is
// over.
func (a *asked) news(c *Core, st *state) {
	p := a.nextInCycle(c)
	if p == nil || a.with(p) != nil || len(a.pulls) >= maxPulls {
		st.news = false
		return
	}
	keys := c.free(func(st *state) bool { return st.news && !p.lacks[st.key] })
	if a.starts.level >= startsBurst/2 && a.start(c, p, keys, "periodic") {
		return
	}
	st.news = false // the period brings it
}

// push gives a member a state that differs from its own, and that no missing
// update explains. On a bus all get it: it is news for them too.
func (c *Core) push(st *state, p *peer) {
	if !c.answered.bytes.take(c.now, 1) {
		c.note(NoteLimited, p, st.key, 1, "bytes")
		return
	}
	to := p.Instance
	if !c.transport.Unicast {
		to = ""
	}
	job := c.job(nil, func(e Event) {
		m, ok := e.(Marshalled)
		if !ok || m.Err != nil || st.gone || m.Data == nil {
			return
		}
		c.answered.bytes.spend(c.now, len(m.Data))
		c.send(to, &Push{To: to, Key: st.key, Digest: m.Digest, Data: m.Data})
	})
	c.emit(Marshal{Job: job, Key: st.key})
}

// onPush takes in a state that another member found this node to lack.
func (c *Core) onPush(p *peer, m *Push) {
	st := c.states[m.Key]
	if p == nil || !p.present() || st == nil || m.To != "" && m.To != c.cfg.Self.Instance {
		return
	}
	if !c.answered.pushes.take(c.now, 1) {
		c.note(NoteLimited, p, m.Key, 1, "pushes")
		return
	}
	p.heardAt = c.now
	version, known := st.version, st.digested && st.digestOf == st.version
	before := st.digest
	job := c.job(nil, func(e Event) {
		r, ok := e.(Merged)
		if !ok || st.gone || r.Full {
			return
		}
		if r.Err != nil {
			c.note(NoteRefused, p, st.key, 1, r.Err.Error())
			return
		}
		quiet := st.version == version
		st.version++
		if r.HasDigest {
			st.digest, st.digestOf, st.digested = r.Digest, st.version, true
			if m.To != "" && c.isReady(st) && quiet && (!known || before != r.Digest) {
				c.spread(st)
			}
		}
	})
	c.emit(Merge{Job: job, Key: m.Key, Data: m.Data, Digest: true})
}

// onExchanged takes in that the transport's own exchange brought a full state and
// all of it is merged.
func (c *Core) onExchanged(e Exchanged) {
	items := map[string]*AnswerItem{}
	var p *peer
	if e.Head != nil {
		p = c.roster.get(e.Head.Instance)
		for i := range e.Head.Items {
			items[e.Head.Items[i].Key] = &e.Head.Items[i]
		}
		if p != nil {
			c.seeView(p, e.Head.View)
		}
	}
	for _, st := range c.keys {
		it := items[st.key]
		switch {
		case slices.Contains(e.Failed, st.key):
		case e.Head == nil:
			if c.onlyForeign() { // there is nobody else to be merged from
				c.becomeReady(st, Synced)
			}
		case !slices.Contains(e.Keys, st.key) || it == nil:
		default:
			c.account(&pullKey{state: st, all: true}, it.Numbers)
			st.version++
			if p != nil {
				st.compare, st.stale = false, false
			}
			c.answeredBy(st, it.Worth)
			c.settleSearch(st)
		}
	}
	c.caughtUp()
}

// onlyForeign reports whether all members speak another protocol.
func (c *Core) onlyForeign() bool {
	n := 0
	for _, p := range c.roster.live {
		if !p.foreign() {
			return false
		}
		if p.life == live {
			n++
		}
	}
	return n > 0
}
