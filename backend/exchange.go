package backend

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	answerTimeout = 2 * time.Second        // without any progress, before another member is asked
	digestTimeout = 500 * time.Millisecond // for states that are busy merging: without its digest a state is sent whole
	maxRequests   = 256
	joinPatience  = time.Second // for the driver to know a member that has just joined
	joinStep      = 10 * time.Millisecond
)

// resyncReasons are the values of the label reason of
// clusterchannel_resyncs_total.
var resyncReasons = []string{"join", "reattach", "add_state", "gap", "joined", "periodic"}

// pullQueue holds the exchanges that this node wants. Wants of one kind are one.
type pullQueue struct {
	mu      sync.Mutex
	all     string // reason to compare all states with the lowest other member
	keys    map[string]bool
	from    map[string]string // origin to reason
	rotate  int               // round of the periodic comparison
	asking  string            // the origin of the exchange under way; empty: any
	active  *pull
	wake    chan struct{}
	answers chan *pushed
	touched chan struct{}
}

// pull is one exchange under way.
type pull struct {
	id     uint64
	target Member
}

// pushed is a decoded answer: its bytes are its own.
type pushed struct {
	id     uint64 // of the pull that it answers; 0: it was not asked for
	origin string
	items  []wire.Item
	vector []mark
	done   bool
}

func newPullQueue() *pullQueue {
	return &pullQueue{
		keys: map[string]bool{}, from: map[string]string{},
		wake: make(chan struct{}, 1), answers: make(chan *pushed, 64), touched: make(chan struct{}, 1),
	}
}

func (q *pullQueue) want(set func()) {
	q.mu.Lock()
	set()
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *pullQueue) wantAll(reason string)  { q.want(func() { q.all = reason }) }
func (q *pullQueue) wantKey(key string)     { q.want(func() { q.keys[key] = true }) }
func (q *pullQueue) wantPeriodic(round int) { q.want(func() { q.rotate = round }) }

// wantFrom has a gap repaired, unless that is under way: a gap that it leaves is
// noticed again.
func (q *pullQueue) wantFrom(origin string) {
	q.want(func() {
		if q.asking != origin {
			q.from[origin] = "gap"
		}
	})
}

func (q *pullQueue) wantJoined(origin string) {
	q.want(func() {
		if q.from[origin] == "" {
			q.from[origin] = "joined"
		}
	})
}

// progress notes that a piece of an answer arrived.
func (q *pullQueue) progress(origin string) {
	q.mu.Lock()
	ours := q.active != nil && q.active.target.Instance == origin
	q.mu.Unlock()
	if ours {
		select {
		case q.touched <- struct{}{}:
		default:
		}
	}
}

// wanted is one exchange to be made.
type wanted struct {
	reason string
	target string   // the instance to ask; empty: any
	keys   []string // nil: all states
	rotate int
}

// take returns the most urgent want. The one before is done.
func (q *pullQueue) take() (w wanted, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asking = ""
	for origin, reason := range q.from {
		delete(q.from, origin)
		q.asking = origin
		return wanted{reason: reason, target: origin}, true
	}
	switch {
	case q.all != "":
		w = wanted{reason: q.all}
		q.all = ""
		clear(q.keys)
	case len(q.keys) > 0:
		w = wanted{reason: "add_state", keys: slices.Collect(maps.Keys(q.keys))}
		clear(q.keys)
	case q.rotate > 0:
		w = wanted{reason: "periodic", rotate: q.rotate}
		q.rotate = 0
	default:
		return w, false
	}
	return w, true
}

func (q *pullQueue) begin(p *pull) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.active = p
}

func (q *pullQueue) isActive(id uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.active != nil && q.active.id == id
}

// exchangeLoop makes the exchanges that are wanted, one after the other.
func (n *node) exchangeLoop() {
	for {
		select {
		case <-n.work.Done():
			return
		case <-n.pulls.wake:
		}
		for n.work.Err() == nil {
			w, ok := n.pulls.take()
			if !ok {
				break
			}
			n.exchange(w)
		}
	}
}

// exchange asks members until one has answered.
func (n *node) exchange(w wanted) {
	targets := n.targets(w)
	covered := n.statesOf(w.keys)
	if len(targets) == 0 { // whoever joins later asks for itself
		if n.view.Load().Ready != Settling {
			for _, st := range covered {
				st.exchanged("")
			}
		}
		return
	}
	if w.reason == "gap" {
		n.met.gaps.Inc()
	}
	n.met.resyncs.WithLabelValues(w.reason).Inc()
	for _, target := range targets {
		if n.work.Err() != nil {
			return
		}
		if err := n.pullFrom(target, w); err == nil {
			for _, st := range covered {
				st.exchanged(w.reason)
			}
			if w.keys == nil {
				n.inbox.exchangeDone()
			}
			return
		} else if n.work.Err() == nil {
			n.log.Debug("a member did not answer; asking another", "member", target.Name, "err", err)
		}
	}
}

// statesOf returns the registered states under keys, or all.
func (n *node) statesOf(keys []string) []*state {
	all := *n.states.Load()
	if keys == nil {
		return slices.Collect(maps.Values(all))
	}
	var some []*state
	for _, key := range keys {
		if st := all[key]; st != nil {
			some = append(some, st)
		}
	}
	return some
}

// targets lists whom to ask, in order: the lowest other member first, unless it
// is about a certain one.
func (n *node) targets(w wanted) []Member {
	others := n.otherMembers()
	if w.target != "" {
		if i := slices.IndexFunc(others, func(m Member) bool { return m.Instance == w.target }); i > 0 {
			m := others[i]
			others = slices.Insert(slices.Delete(others, i, i+1), 0, m)
		}
	}
	if w.rotate > 0 && len(others) > 1 {
		i := w.rotate % len(others)
		others = append(slices.Clone(others[i:]), others[:i]...)
	}
	return others[:min(len(others), 8)]
}

var errNoAnswer = errors.New("no answer")

// pullFrom compares states with one member: it sends its digests, merges what
// comes back, and pushes to all what the other lacked.
func (n *node) pullFrom(target Member, w wanted) error {
	p := &pull{id: rand.Uint64() | 1, target: target}
	n.pulls.begin(p)
	defer n.pulls.begin(nil)
	items := n.digests(w.keys)
	s, _ := n.link.current()
	if s == nil {
		return ErrUnavailable
	}
	frame := n.enc.Control(wire.Pull, wire.Control{To: target.Instance, ID: p.id, Items: items})
	if err := s.transmit(n.work, frame, &target); err != nil {
		return err
	}
	timeout := time.NewTimer(answerTimeout)
	defer timeout.Stop()
	var merges sync.WaitGroup
	lacking := false
	for {
		select {
		case <-n.work.Done():
			return n.work.Err()
		case <-timeout.C:
			return errNoAnswer
		case <-n.pulls.touched:
			timeout.Reset(answerTimeout)
		case a := <-n.pulls.answers:
			if a.id != p.id {
				continue
			}
			timeout.Reset(answerTimeout)
			for _, it := range a.items {
				lacking = lacking || it.Lacking
				n.mergeAnswer(it, w, target, &merges)
			}
			if !a.done {
				continue
			}
			if !n.waitMerged(&merges) {
				return nil // a state is slow; the others are merged
			}
			if w.keys == nil && !lacking {
				n.origins.cover(a.vector)
			}
			return nil
		}
	}
}

// waitMerged waits for merges, up to answerTimeout.
func (n *node) waitMerged(merges *sync.WaitGroup) bool {
	done := make(chan struct{})
	n.workers.Go(func() { merges.Wait(); close(done) })
	t := time.NewTimer(answerTimeout)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-n.work.Done():
		return false
	case <-t.C:
		return false
	}
}

// mergeAnswer merges one state of an answer. Where this node then still differs
// it has something that the other lacks: all get it, but for a member that has
// just joined and had nothing to give, which alone lacks it.
func (n *node) mergeAnswer(it wire.Item, w wanted, from Member, merges *sync.WaitGroup) {
	st := (*n.states.Load())[string(it.Key)]
	if st == nil || it.Lacking || !it.HasData {
		return
	}
	merges.Add(1)
	if !st.doOr(len(it.Data), func() {
		var before uint64
		known := false
		if w.reason == "joined" {
			sum, _, err := st.digest()
			before, known = sum, err == nil
		}
		st.merge(it.Data)
		merges.Done()
		if !it.HasSum {
			return
		}
		if sum, b, err := st.digest(); err == nil && sum != it.Digest {
			var to *Member
			if known && sum == before {
				to = &from
			}
			n.pushState(st, to, sum, b)
		}
	}, merges.Done) {
		merges.Done()
	}
}

// pushState hands this node's state to one member, or to all where to is nil. b
// is the state where that is at hand.
func (n *node) pushState(st *state, to *Member, sum uint64, b []byte) {
	if b == nil {
		var err error
		if b, err = st.marshal(); err != nil {
			return
		}
	}
	n.answers.addPush(push{st, to, wire.Item{Key: []byte(st.key), Digest: sum, HasSum: true, Data: b, HasData: true}})
}

// digests returns the digest of each state, or of those in keys. A state that is
// busy is given without.
func (n *node) digests(keys []string) []wire.Item {
	var mu sync.Mutex
	var left sync.WaitGroup
	sums := map[string]uint64{}
	states := *n.states.Load()
	if keys == nil {
		keys = slices.Sorted(maps.Keys(states))
	}
	for _, key := range keys {
		st := states[key]
		if st == nil {
			continue
		}
		left.Add(1)
		if !st.doOr(0, func() {
			defer left.Done()
			if sum, _, err := st.digest(); err == nil {
				mu.Lock()
				sums[key] = sum
				mu.Unlock()
			}
		}, left.Done) {
			left.Done()
		}
	}
	done := make(chan struct{})
	n.workers.Go(func() { left.Wait(); close(done) })
	t := time.NewTimer(digestTimeout)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-n.work.Done():
	}
	mu.Lock()
	defer mu.Unlock()
	var items []wire.Item
	for _, key := range keys {
		if states[key] == nil {
			continue
		}
		sum, ok := sums[key]
		items = append(items, wire.Item{Key: []byte(key), Digest: sum, HasSum: ok})
	}
	return items
}

// receivePush takes in states, asked for or not. It runs on the control loop and
// so only copies and queues.
func (n *node) receivePush(f *wire.Frame) {
	a := &pushed{id: f.ID, origin: string(f.Origin), done: f.Done}
	size := 0
	for _, it := range f.Items { // f's bytes are already this node's own
		size += len(it.Data)
		a.items = append(a.items, it)
	}
	for _, m := range f.Vector {
		a.vector = append(a.vector, mark{string(m.Origin), m.Seq})
	}
	if size > 0 {
		n.met.fullState.in(size)
	}
	if a.id != 0 {
		if n.pulls.isActive(a.id) {
			select {
			case n.pulls.answers <- a:
			default: // the next comparison repairs it
			}
		}
		return
	}
	for _, it := range a.items {
		if st := (*n.states.Load())[string(it.Key)]; st != nil && it.HasData {
			if !st.doOr(len(it.Data), func() { st.merge(it.Data) }, nil) {
				n.met.drop(st.key, "inbound_overflow")
			}
		}
	}
}

// request is another member's pull.
type request struct {
	from  string
	id    uint64
	items []wire.Item
}

func newRequest(f *wire.Frame) request {
	return request{from: string(f.Origin), id: f.ID, items: slices.Clone(f.Items)}
}

// answerQueue holds the pulls that this node has to answer, the latest of each
// member, and the states that it has to push.
type answerQueue struct {
	mu       sync.Mutex
	requests map[string]request
	pushes   map[pushKey]push
	wake     chan struct{}
}

// push is a state to be handed to one member, or to all where to is nil.
type push struct {
	st   *state
	to   *Member
	item wire.Item
}

// pushKey is what a later push takes the place of.
type pushKey struct {
	st       *state
	instance string
}

func newAnswerQueue() *answerQueue {
	return &answerQueue{requests: map[string]request{}, pushes: map[pushKey]push{}, wake: make(chan struct{}, 1)}
}

func (q *answerQueue) add(r request) {
	q.mu.Lock()
	if _, ok := q.requests[r.from]; ok || len(q.requests) < maxRequests {
		q.requests[r.from] = r
	}
	q.mu.Unlock()
	q.signal()
}

func (q *answerQueue) addPush(p push) {
	key := pushKey{st: p.st}
	if p.to != nil {
		key.instance = p.to.Instance
	}
	q.mu.Lock()
	q.pushes[key] = p
	q.mu.Unlock()
	q.signal()
}

func (q *answerQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *answerQueue) take() (rs []request, pushes []push) {
	q.mu.Lock()
	defer q.mu.Unlock()
	rs, pushes = slices.Collect(maps.Values(q.requests)), slices.Collect(maps.Values(q.pushes))
	clear(q.requests)
	clear(q.pushes)
	return rs, pushes
}

// answerLoop answers pulls and pushes states.
func (n *node) answerLoop() {
	for {
		select {
		case <-n.work.Done():
			return
		case <-n.answers.wake:
		}
		requests, pushes := n.answers.take()
		for _, r := range requests {
			n.answer(r)
		}
		for _, p := range pushes {
			if (*n.states.Load())[p.st.key] == p.st { // else it was removed while it waited
				c := wire.Control{Items: []wire.Item{p.item}}
				if p.to != nil {
					c.To = p.to.Instance
				}
				n.sendState(p.to, c)
			}
		}
	}
}

// answer sends what differs, a state a frame, and at last how far this node has
// taken in each origin. That is read first: what is marshalled later has more.
func (n *node) answer(r request) {
	vector := n.origins.vector()
	vector = append(vector, wire.Mark{Origin: []byte(n.self.Instance), Seq: n.out.assigned()})
	to := &Member{Instance: r.from}
	for _, m := range n.otherMembers() {
		if m.Instance == r.from {
			to = &m
		}
	}
	var lacking []wire.Item
	for _, want := range r.items {
		st := (*n.states.Load())[string(want.Key)]
		if st == nil {
			lacking = append(lacking, wire.Item{Key: want.Key, Lacking: true})
			continue
		}
		it, ok := n.difference(st, want)
		if !ok {
			return // cancelled, or the state is stuck; the asker tries another
		}
		if it.HasData {
			n.sendState(to, wire.Control{To: r.from, ID: r.id, Items: []wire.Item{it}})
		}
	}
	n.sendState(to, wire.Control{To: r.from, ID: r.id, Items: lacking, Vector: vector, Done: true})
}

// difference marshals st, after all that is queued for it, unless the asker has
// the same.
func (n *node) difference(st *state, want wire.Item) (it wire.Item, ok bool) {
	result := make(chan wire.Item, 1)
	fail := func() { result <- wire.Item{} }
	if !st.doOr(0, func() {
		sum, b, err := st.digest()
		if err == nil && want.HasSum && sum == want.Digest {
			result <- wire.Item{}
			return
		}
		if b == nil && err == nil {
			b, err = st.marshal()
		}
		if err != nil {
			result <- wire.Item{}
			return
		}
		result <- wire.Item{Key: []byte(st.key), Digest: sum, HasSum: true, Data: b, HasData: true}
	}, fail) {
		return wire.Item{}, true
	}
	t := time.NewTimer(answerTimeout)
	defer t.Stop()
	select {
	case it = <-result:
		return it, true
	case <-t.C:
		return it, false
	case <-n.work.Done():
		return it, false
	}
}

// sendState sends a push to one member, or to all where to is nil.
func (n *node) sendState(to *Member, c wire.Control) {
	s, _ := n.link.current()
	if s == nil {
		return
	}
	frame := n.enc.Control(wire.Push, c)
	if len(frame) > maxFrameBytes {
		for _, it := range c.Items {
			n.met.drop(string(it.Key), "too_large")
			n.log.warn("large:"+string(it.Key), "a state is too large to be exchanged; the others cannot catch up", "key", string(it.Key), "bytes", len(it.Data), "limit", maxFrameBytes)
		}
		return
	}
	err := s.transmit(n.work, frame, to)
	for limit := time.Now().Add(joinPatience); to != nil && errors.Is(err, ErrUnavailable) && time.Now().Before(limit) && n.pause(joinStep); {
		err = s.transmit(n.work, frame, to) // who has just joined may not be known to the driver yet
	}
	if err != nil {
		if n.work.Err() == nil && !errors.Is(err, context.Canceled) {
			n.met.publishFailed("full_state", "transport_error")
			n.log.warn("push", "a state could not be sent; the next exchange repairs it", "err", err)
		}
		return
	}
	for _, it := range c.Items {
		if it.HasData {
			n.met.fullState.out(len(it.Data))
		}
	}
}
