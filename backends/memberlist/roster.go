package memberlist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// roster keeps the list of members, and tells the Handler. It starts from what
// memberlist believes, and makes sure:
//
//   - one that said goodbye has left, at once
//   - one that is reached stays, whatever else is the case: it answers a ping, or
//     handles a stream, or another member says that it does so there
//   - one whose host refuses connections is suspected at once, and has failed if it
//     is not reached within probe_timeout
//   - one that memberlist gives up is asked once more, since it may answer
//   - one that has failed is back when it is reached, and not before
//   - when nobody answers, it is this node that is cut off: the link is lost, and
//     the members stay as they are until memberlist has given up all of them
//
// A member is dropped and taken back by the same question, which has the same answer
// as long as the network is the same: signals that contradict each other make nobody
// come and go.
//
// memberlist's callbacks only note what they are told; run does the rest.
type roster struct {
	self   string // the name of this node
	mesh   *mesh
	seeds  *seeds
	sender *sender
	gate   *gate
	logger *slog.Logger
	ctx    context.Context // of run
	wake   chan struct{}

	mu        sync.Mutex
	alive     map[string]*member         // the nodes that memberlist holds alive, this one included
	gone      map[string]bool            // nodes that said goodbye
	goneAt    map[string]time.Time       // when they did
	vacant    map[string]bool            // addresses of those
	unproven  map[string]doubt           // nodes that memberlist alone holds alive, and nobody has reached since they failed or were told of
	farewell  map[string]bool            // Alertmanagers that said goodbye to memberlist
	refusals  map[string]bool            // addresses that refused once; true where another node says so
	excused   map[string]time.Time       // nodes whose refusals mean nothing, and until when
	inquiry   map[string][]chan struct{} // by node: closed when another member says that it reaches it
	failed    map[string]*member         // nodes to bring back, by name; by name and address if they moved
	listed    *lists                     // what live returns; nil: it is to be made anew
	changes   chan struct{}              // closed when what live returns changes
	examined  map[string]bool            // nodes whose refusals are being looked at
	witnessed map[[2]string]bool         // members that are looked at for others, and for whom
	reachers  map[string]*reachers       // by node: who says that it reaches it
	refusing  *complaint                 // of members that are reached, and whose hosts refuse connections
	vetting   chan struct{}              // cap maxVetted: held by who looks for a member that was never met
	seeking   chan struct{}              // likewise, for one that was
	looks     singleflight.Group         // by name and address: whether this node reaches a member
	ended     bool                       // no more checks begin
	checks    sync.WaitGroup

	// Only run uses the rest.
	shown    map[string]*member // the members that the Handler knows
	held     map[string]hold    // nodes that answered after memberlist gave them up
	isolated bool
	deserted bool      // the last of the others have failed
	told     string    // what Link was called with; empty: it was not
	trouble  string    // what Trouble was called with
	wholeBy  time.Time // while attaching again: until when to wait for failed members
	attached bool
}

const (
	maxRemembered = 1024                   // goodbyes, refusals
	maxFailed     = 64                     // failed members to bring back
	holdFor       = 2 * time.Second        // how long a node that answers may take to be alive again
	lookAt        = 3                      // members to ask whether this node is cut off
	idleTurn      = 10 * time.Second       // the roster is checked at least this often
	wholeTimeout  = 500 * time.Millisecond // for all to come back, once one has
	findTimeout   = 100 * time.Millisecond
	buriedFor     = 5 * time.Second // how long a node may take to end after its goodbye

	askedWitnesses    = 4  // members that are asked whether they reach one
	maxWitnessed      = 64 // members that are looked at for others at a time
	maxVetted         = 64 // members that may be nobody and are looked for at a time
	slotPause         = 4  // reconnect intervals until another is looked for in the place of one that nobody reached
	longestPause      = 8  // reconnect intervals between two looks for a member that nobody reaches
	farewellIntervals = 5  // gossip intervals within which an Alertmanager's goodbye comes
)

// hold is how a node is waited for that answers, and is not alive by the list.
type hold struct {
	until  time.Time
	joined time.Time // when it was last asked for its list
}

// newRoster returns a roster without seeds and sender.
func newRoster(c *conn) *roster {
	return &roster{
		self: nodeName(c.self), mesh: &c.mesh, gate: &c.gate, logger: c.logger, ctx: c.ctx, wake: make(chan struct{}, 1),
		alive: map[string]*member{}, gone: map[string]bool{}, goneAt: map[string]time.Time{}, vacant: map[string]bool{},
		unproven: map[string]doubt{}, farewell: map[string]bool{}, refusals: map[string]bool{}, excused: map[string]time.Time{},
		inquiry: map[string][]chan struct{}{}, examined: map[string]bool{}, witnessed: map[[2]string]bool{}, refusing: refusal(), failed: map[string]*member{},
		reachers: map[string]*reachers{}, vetting: make(chan struct{}, maxVetted), seeking: make(chan struct{}, maxVetted),
		changes: make(chan struct{}), shown: map[string]*member{}, held: map[string]hold{},
	}
}

func (r *roster) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// joined notes that memberlist holds p alive.
func (r *roster) joined(p *member) {
	greet := r.join(p)
	switch {
	case greet:
		r.seeds.soon(p.Addr) // it is given the state with the list of members
	case !p.foreign && len(r.ghosts()) > 0:
		r.sender.tellGhosts(p)
	}
}

// ghosts returns the nodes that said goodbye and that memberlist holds alive: it
// has not heard of it, since that goes by packets, and tells of them whoever joins.
func (r *roster) ghosts() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.gone {
		if r.alive[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// join does the notes of joined, and reports whether this node is to greet p, an
// Alertmanager.
func (r *roster) join(p *member) (greet bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := p.node.Name
	fresh := r.alive[name] == nil || r.alive[name].Addr != p.Addr
	if fresh {
		delete(r.gone, name) // it left one address for another
		delete(r.goneAt, name)
		greet = p.foreign && r.first()
	}
	r.alive[name] = p
	if fresh && p.foreign && !r.ended {
		r.checks.Go(func() { r.vet(p) })
	}
	delete(r.farewell, name)
	if r.failed[name] != nil {
		r.doubtful(p, unreached)
	}
	if !r.gone[name] {
		delete(r.vacant, p.Addr)
	}
	for old, f := range r.failed {
		if old != name && f.Addr == p.Addr || (!f.foreign && f.Name == p.Name && f.Instance != p.Instance && name != r.self) {
			delete(r.failed, old) // its successor is here
		}
	}
	r.updated()
	return greet
}

// vet looks for an Alertmanager that has joined, or is said to have, or for an own node
// that has and answers no ping: whoever knows the label can invent them, and memberlist
// probes one member at a time.
func (r *roster) vet(p *member) {
	if r.look(p) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.alive[p.node.Name] == p {
		r.doubtful(p, unreached)
		r.updated()
	}
}

// look reports whether a member that may be nobody is reached by any, or cannot be looked
// for any more. A look for nobody keeps its slot for a while: it costs this node and those
// that it asks most, and where a machine is late there are many. Those that were never met
// have slots of their own, as anybody may have invented them.
func (r *roster) look(p *member) bool {
	slots := r.vetting
	r.mu.Lock()
	known := r.failed[p.node.Name] != nil
	r.mu.Unlock()
	if known || r.sender.met(p) {
		slots = r.seeking
	}
	select {
	case slots <- struct{}{}:
	case <-r.ctx.Done():
		return true
	}
	if r.inquire(p, quietly) != byNobody {
		<-slots
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.checks.Go(func() {
			timer := time.NewTimer(slotPause * r.mesh.settings.ReconnectInterval)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.ctx.Done():
			}
			<-slots
		})
	}
	return false
}

// reach reports whether this node reaches p. Who asks while it is found out for another
// is told what that is: many ask at once when many are late.
func (r *roster) reach(p *member) bool {
	reached, _, _ := r.looks.Do(p.node.Name+" "+p.Addr, func() (any, error) { return r.reachByName(p), nil })
	return reached.(bool)
}

// reachByName is reach of the mesh. Who shares an address with others is there if it
// answers by its name; by a connection alone only if none of them does.
func (r *roster) reachByName(p *member) bool {
	var others []*member
	r.mu.Lock()
	for name, q := range r.alive {
		if q.Addr == p.Addr && name != p.node.Name && !r.gone[name] {
			others = append(others, q)
		}
	}
	r.mu.Unlock()
	switch {
	case len(others) == 0:
		return r.mesh.reach(p)
	case r.mesh.ping(p):
		return true
	case len(others) > lookAt || slices.Contains(each(others, r.mesh.ping), true):
		return false
	}
	return r.mesh.knock(p, r.mesh.settings.ProbeTimeout)
}

// hidden reports whether a node is no member though memberlist may hold it alive. r.mu is
// held.
func (r *roster) hidden(name string) bool { return r.gone[name] || r.unproven[name] != believed }

// first reports whether this node is the one of its kind that acts for all. It makes no
// lists, as it is asked for each who joins. r.mu is held.
func (r *roster) first() bool {
	for name, p := range r.alive {
		if !p.foreign && name < r.self && !r.hidden(name) {
			return false
		}
	}
	return true
}

// moved notes that a node is at another address than memberlist has for it.
// memberlist accepts that once it has given up the old address. It reports
// whether the node has failed there.
func (r *roster) moved(p *member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := p.node.Name
	if name == r.self {
		return false
	}
	failed := r.alive[name] == nil || r.unproven[name] != believed
	r.bringBack(name+" at "+p.Addr, p)
	return failed
}

// lost notes that memberlist no longer holds a node alive.
func (r *roster) lost(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.alive, name)
	delete(r.unproven, name)
	delete(r.excused, name)
	delete(r.reachers, name)
	r.updated()
}

// answered notes that a node has answered a probe, and returns it unless it has
// left. One that goes on to answer long after its goodbye is back: the goodbye was told
// after it had left one address and come to another.
func (r *roster) answered(name string) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proven(name)
	p := r.alive[name]
	if r.gone[name] {
		if p == nil || time.Since(r.goneAt[name]) < buriedFor {
			return nil
		}
		delete(r.gone, name)
		delete(r.vacant, p.Addr)
		r.updated()
	}
	return p
}

// holds reports whether a node is a member, or may be one again soon.
func (r *roster) holds(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alive[name] != nil && !r.gone[name]
}

// crowded reports whether there is no room for one more member of that name.
func (r *roster) crowded(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.alive) >= maxMembers && r.alive[name] == nil
}

// named returns a member, or nil.
func (r *roster) named(name string) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == r.self || r.hidden(name) {
		return nil
	}
	return r.alive[name]
}

// leaving notes that an Alertmanager says goodbye to memberlist, which tells of a
// failure in the same way.
func (r *roster) leaving(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.alive[name]; p != nil && p.foreign {
		r.farewell[name] = true
	}
}

// refused notes that nothing listens at addr. It is called by the transport.
func (r *roster) refused(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubt(addr, false)
}

func (r *roster) doubt(addr string, hinted bool) {
	for _, p := range r.live().others {
		if p.Addr == addr && (hinted || time.Now().After(r.excused[p.node.Name])) {
			r.refusals[addr] = hinted
			r.signal()
			return
		}
	}
}

// updated says that what follows from the notes may be another than before. r.mu is
// held.
func (r *roster) updated() {
	r.listed = nil
	close(r.changes)
	r.changes = make(chan struct{})
	r.signal()
}

// lists are the other members by kind: alive, not gone, not unproven. They are replaced,
// never modified.
type lists struct {
	others        []*member
	ours, foreign []*member // of others: own nodes, and Alertmanagers
}

// live returns the lists. They are made when somebody asks, as many may join between.
// r.mu is held.
func (r *roster) live() *lists {
	if r.listed != nil {
		return r.listed
	}
	l := &lists{others: make([]*member, 0, len(r.alive))}
	for name, p := range r.alive {
		if name == r.self || r.hidden(name) {
			continue
		}
		l.others = append(l.others, p)
		if p.foreign {
			l.foreign = append(l.foreign, p)
		} else {
			l.ours = append(l.ours, p)
		}
	}
	r.listed = l
	return l
}

// current returns the live others; the slice must not be modified.
func (r *roster) current() []*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live().others
}

// kinds returns the live others: own nodes, and Alertmanagers; the slices must
// not be modified.
func (r *roster) kinds() (ours, foreign []*member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live()
	return l.ours, l.foreign
}

// find returns a live own member. It waits briefly for one that is not there: a
// node that joins may be heard before it is known.
func (r *roster) find(ctx context.Context, instance string) *member {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	for {
		r.mu.Lock()
		ours, changes := r.live().ours, r.changes
		r.mu.Unlock()
		if i := slices.IndexFunc(ours, func(p *member) bool { return p.Instance == instance }); i >= 0 {
			return ours[i]
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return nil
		case <-r.ctx.Done():
			return nil
		}
	}
}

// toReach returns the addresses of failed members, and of those that memberlist
// holds alive.
func (r *roster) toReach() (failed, alive map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed, alive = map[string]bool{}, map[string]bool{}
	for _, p := range r.alive {
		alive[p.Addr] = true
	}
	for _, p := range r.failed {
		failed[p.Addr] = true
	}
	return failed, alive
}

// isVacant reports whether the node that was at addr has said goodbye.
func (r *roster) isVacant(addr string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.vacant[addr]
}

// Messages between own drivers begin with a byte that begins no frame.
const (
	controlMark    = 0
	controlGoodbye = 'g' // the named node leaves
	controlRefused = 'r' // the named node's host refuses connections: who reaches it?
	controlReached = 'v' // the named node is reached
	controlWitness = 'w' // who reaches the named node? asks another
	controlRelay   = 'h' // the named node is reached by another, which says so
	controlForward = 'f' // a message to pass on to another node
	controlDirect  = 'd' // a frame for its receiver alone, which passes it on to nobody
	controlAsk     = 'a' // a packet and a stream are to be sent to the address
	controlEcho    = 'e' // the packet that was asked for
	controlStream  = 's' // the stream that was asked for
	controlBundle  = 'm' // several messages
)

func controlMessage(kind byte, name string) []byte {
	return append([]byte{controlMark, kind}, name...)
}

// isQuestion reports whether a message is about who reaches whom, and so may be lost.
func isQuestion(b []byte) bool {
	return len(b) > 1 && b[0] == controlMark && slices.Contains([]byte{controlRefused, controlReached, controlWitness, controlRelay, controlAsk}, b[1])
}

// control handles such a message. An unknown kind is from a later version.
func (r *roster) control(b []byte) {
	if len(b) < 3 {
		return
	}
	name := string(b[2:])
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.alive[name]
	if p == nil || p.foreign || name == r.self {
		return
	}
	switch b[1] {
	case controlGoodbye:
		if len(r.gone) >= maxRemembered {
			clear(r.gone)
			clear(r.goneAt)
		}
		if !r.gone[name] {
			r.gone[name], r.goneAt[name] = true, time.Now()
		}
		r.vacate(p.Addr)
		r.updated()
	case controlRefused:
		r.doubt(p.Addr, true)
	case controlReached:
		for _, c := range r.inquiry[name] {
			close(c)
		}
		delete(r.inquiry, name)
	}
}

// vacate notes that no node is expected at addr. r.mu is held.
func (r *roster) vacate(addr string) {
	if len(r.vacant) >= maxRemembered {
		clear(r.vacant)
	}
	r.vacant[addr] = true
}

// run tells the Handler what changes, until the node is closed.
func (r *roster) run() {
	defer r.endChecks()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.wake:
		case <-timer.C:
		case <-r.ctx.Done():
			return
		}
		timer.Reset(r.turn())
	}
}

func (r *roster) endChecks() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.checks.Wait()
}

// turn checks everything once, and returns the latest time for the next check.
func (r *roster) turn() time.Duration {
	r.examineRefusals()
	again := idleTurn
	left, failed, wait := r.missing()
	if wait {
		again = r.mesh.settings.ProbeInterval / 2
	}
	now := r.show()
	for name, p := range r.shown { // those that are held stay
		if now[name] == nil && !slices.Contains(left, p) && !slices.Contains(failed, p) {
			now[name] = p
		}
	}
	r.retire(left, failed)
	if others := len(now) - 1; others > 0 {
		r.deserted = false
	} else if len(failed) > 0 {
		r.deserted = true
	}
	link, known := r.link()
	if r.ctx.Err() != nil {
		return again
	}
	if known && link != nil {
		r.wholeBy = time.Time{}
		r.tellLink(link)
	}
	for _, p := range left {
		r.gate.do(func(h driver.Handler) { h.Left(p.Member) })
	}
	if !maps.Equal(now, r.shown) {
		r.shown = now
		all := make([]driver.Member, 0, len(now))
		for _, p := range now {
			all = append(all, p.Member)
		}
		r.gate.do(func(h driver.Handler) { h.Members(all) })
	}
	if known && link == nil {
		r.tellLink(nil)
	}
	r.tellTrouble()
	if !known && !r.wholeBy.IsZero() {
		again = min(again, wholeTimeout/10)
	}
	return again
}

// show returns the members to show: this node and the live others.
func (r *roster) show() map[string]*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	others := r.live().others
	now := make(map[string]*member, len(others)+1)
	if self := r.alive[r.self]; self != nil {
		now[r.self] = self
	} else if self := r.shown[r.self]; self != nil {
		now[r.self] = self
	}
	for _, p := range others {
		now[p.node.Name] = p
	}
	return now
}

// missing finds out what happened to members that are shown and no longer
// alive. Those in neither list stay, and are checked again if wait is set.
func (r *roster) missing() (left, failed []*member, wait bool) {
	var ask, silent []*member
	r.mu.Lock()
	others := r.live().others
	live := make(map[string]bool, len(others))
	for _, p := range others {
		live[p.node.Name] = true
	}
	sure := false // whether this node is known to reach any other
	for name, p := range r.shown {
		switch {
		case name == r.self || live[name]:
			delete(r.held, name)
		case r.gone[name], r.farewell[name] && r.alive[name] == nil:
			left = append(left, p)
		case r.unproven[name] == unreached:
			silent = append(silent, p)
		case r.unproven[name] == refused:
			failed = append(failed, p)
			sure = true
		default:
			ask = append(ask, p)
		}
	}
	r.mu.Unlock()
	for i, answers := range each(ask, func(p *member) bool { return r.inquire(p, quietly) != byNobody }) {
		p, name := ask[i], ask[i].node.Name
		held, holding := r.held[name]
		switch {
		case answers && p.foreign:
			left = append(left, p) // it said so to memberlist, and still runs
			sure = true
		case answers && (!holding || time.Now().Before(held.until)):
			if !holding {
				held.until = time.Now().Add(holdFor)
			}
			if time.Since(held.joined) >= r.mesh.settings.ReconnectInterval/2 { // the first may tell what was so before it refuted
				held.joined = time.Now()
				r.seeds.soon(p.Addr)
			}
			r.held[name] = held
			wait, sure = true, true
		default:
			silent = append(silent, p)
		}
	}
	r.isolated = len(silent) > 0 && !sure && len(others) > 0 && !r.reaches(others)
	if r.isolated {
		return left, failed, true
	}
	for _, p := range silent {
		delete(r.held, p.node.Name)
	}
	return left, append(failed, silent...), wait
}

// each asks one question of all members at once.
func each(members []*member, ask func(*member) bool) []bool {
	answers := make([]bool, len(members))
	var wg sync.WaitGroup
	for i, p := range members {
		wg.Go(func() { answers[i] = ask(p) })
	}
	wg.Wait()
	return answers
}

// reaches reports whether any of some members answers, or accepts a connection
// if packets do not pass. Those that were reached before are asked first: somebody may
// have invented the others.
func (r *roster) reaches(others []*member) bool {
	met := slices.DeleteFunc(slices.Clone(others), func(p *member) bool { return !r.sender.met(p) })
	if len(met) > 0 {
		others = met
	}
	some := others[:min(lookAt, len(others))]
	return slices.Contains(each(some, r.mesh.ping), true) ||
		slices.Contains(each(some, func(p *member) bool { return r.mesh.dial(p) == nil }), true)
}

// examineRefusals has a look at the members whose hosts refused a connection.
func (r *roster) examineRefusals() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.live().others {
		hinted, ok := r.refusals[p.Addr]
		if name := p.node.Name; ok && !r.examined[name] && !r.ended {
			r.examined[name], r.excused[name] = true, time.Now().Add(r.mesh.settings.ProbeInterval)
			r.checks.Go(func() { r.suspect(p, hinted) })
		}
	}
	clear(r.refusals)
}

// suspect finds out whether a member whose host refused a connection is reached all
// the same, and lets the others find it out too. If they asked, they are told.
func (r *roster) suspect(p *member, hinted bool) {
	name := p.node.Name
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.examined, name)
	}()
	if !errors.Is(r.mesh.dial(p), syscall.ECONNREFUSED) || !hinted && !errors.Is(r.mesh.dial(p), syscall.ECONNREFUSED) {
		r.refusing.set(r.gate, p, false)
		if hinted && r.reach(p) { // else it may be slow: memberlist finds out
			r.sender.hint(controlMessage(controlReached, name))
		}
		return
	}
	ask := loudly
	if hinted {
		ask = silently
	}
	switch r.inquire(p, ask) {
	case byItself:
		if hinted {
			r.sender.hint(controlMessage(controlReached, name))
		}
		r.refusing.set(r.gate, p, true)
	case byNobody:
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.alive[name] == p { // it may have another address by now
			r.doubtful(p, refused)
			r.updated()
		}
	}
}

// doubt is whether a node that memberlist holds alive is believed to be, and why not.
type doubt int

const (
	believed  doubt = iota
	unreached       // nobody reaches it; it may be this node that is cut off
	refused         // nobody reaches it, and its host refuses connections
)

// Who reaches a member.
const (
	byNobody = iota
	byItself // by this node
	byOther
)

// Whom inquire asks.
const (
	silently = iota // nobody: all have been asked already
	quietly         // some
	loudly          // all, who then suspect the member themselves
)

// inquire tries to reach p, and asks the others whether they do. It waits for an
// Alertmanager's goodbye too, which is gossiped when the process is gone already.
func (r *roster) inquire(p *member, ask int) (who int) {
	name, word := p.node.Name, make(chan struct{})
	answer := make(chan bool, 1)
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return byOther
	}
	r.checks.Go(func() { answer <- r.reach(p) })
	r.inquiry[name] = append(r.inquiry[name], word)
	witnesses := slices.DeleteFunc(slices.Clone(r.live().ours), func(w *member) bool { return w.node.Name == name })
	r.mu.Unlock()
	defer r.endInquiry(name, word)
	switch ask {
	case loudly:
		r.sender.hint(controlMessage(controlRefused, name))
	case quietly:
		for _, w := range some(witnesses, askedWitnesses) {
			_ = r.sender.pass(w, addressed(controlWitness, name, []byte(r.self))) // it may be lost
		}
	}
	wait := r.mesh.settings.ProbeTimeout
	if p.foreign {
		wait = max(wait, farewellIntervals*r.mesh.settings.GossipInterval)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for silent := false; ; {
		select {
		case reached := <-answer:
			if reached {
				return byItself
			}
			if silent = true; len(witnesses) == 0 && !p.foreign {
				return byNobody
			}
		case <-word:
			return byOther
		case <-timer.C:
			if !silent && <-answer {
				return byItself
			}
			return byNobody
		case <-r.ctx.Done():
			return byOther
		}
	}
}

func (r *roster) endInquiry(name string, word chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inquiry[name] = slices.DeleteFunc(r.inquiry[name], func(c chan struct{}) bool { return c == word }); len(r.inquiry[name]) == 0 {
		delete(r.inquiry, name)
	}
}

// witness tells another node that this one reaches a member, if it does.
func (r *roster) witness(b []byte) {
	name, asker, ok := addressee(b)
	p, to := r.named(name), r.named(string(asker))
	look := [2]string{name, string(asker)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok || p == nil || to == nil || to.foreign || r.ended || len(r.witnessed) >= maxWitnessed || r.witnessed[look] {
		return
	}
	r.witnessed[look] = true
	r.checks.Go(func() {
		if r.reach(p) {
			_ = r.sender.pass(to, controlMessage(controlReached, name)) // it may be lost
			_ = r.sender.pass(to, addressed(controlRelay, name, []byte(r.self)))
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.witnessed, look)
	})
}

// doubtful notes that a node that memberlist holds alive is not to be believed so
// until it is reached. r.mu is held.
func (r *roster) doubtful(p *member, why doubt) {
	if name := p.node.Name; r.unproven[name] == believed && name != r.self && !r.ended {
		r.unproven[name] = why
		r.checks.Go(func() { r.prove(name) })
	}
}

// proven notes that a node is reached. r.mu is held.
func (r *roster) proven(name string) {
	if r.unproven[name] != believed {
		delete(r.unproven, name)
		delete(r.failed, name)
		r.updated()
	}
}

// prove tries to reach a node until it does, or memberlist has given it up, after pauses
// that grow: an answer to a probe of memberlist's own is noted too.
func (r *roster) prove(name string) {
	pause := r.mesh.settings.ReconnectInterval
	for ; ; pause = min(2*pause, longestPause*r.mesh.settings.ReconnectInterval) {
		r.mu.Lock()
		p, why := r.alive[name], r.unproven[name]
		r.mu.Unlock()
		if p == nil || why == believed {
			return
		}
		if r.look(p) {
			r.mu.Lock()
			r.proven(name)
			r.mu.Unlock()
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-r.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// retire notes the members that are no longer shown.
func (r *roster) retire(left, failed []*member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range left {
		r.vacate(p.Addr)
		delete(r.held, p.node.Name)
	}
	for _, p := range failed {
		r.bringBack(p.node.Name, p)
		r.logger.Info("a member has failed", "member", p.node.Name, "addr", p.Addr)
	}
}

// bringBack makes seeds try p again and again. r.mu is held.
func (r *roster) bringBack(key string, p *member) {
	if len(r.failed) >= maxFailed {
		for other := range r.failed {
			delete(r.failed, other)
			break
		}
	}
	r.failed[key] = p
}

// link reports whether this node is attached; not known means that it is too
// early to say.
func (r *roster) link() (err error, known bool) {
	r.mu.Lock()
	others := len(r.live().others)
	failed := slices.Collect(maps.Values(r.failed))
	r.mu.Unlock()
	switch {
	case r.isolated:
		return fmt.Errorf("memberlist: none of the %d other members answers: this node is cut off", len(r.shown)-1), true
	case others > 0:
		return nil, r.whole(failed)
	case len(r.held) > 0: // somebody answers
		return nil, false
	case r.deserted:
		why := make([]string, 0, len(failed))
		for _, p := range failed {
			why = append(why, p.Name+" at "+p.Addr)
		}
		slices.Sort(why)
		return fmt.Errorf("memberlist: all other members have failed: %s", strings.Join(why, ", ")), true
	default:
		return r.seeds.verdict()
	}
}

// whole reports whether a node that was cut off has all members back that can
// come back: what is sent on attaching should reach all.
func (r *roster) whole(failed []*member) bool {
	if r.told == "" || r.attached || len(failed) == 0 {
		r.wholeBy = time.Time{}
		return true
	}
	if r.wholeBy.IsZero() {
		r.wholeBy = time.Now().Add(wholeTimeout)
		for _, p := range some(failed, maxFailedDue) { // who is told that others count as failed tells them
			r.seeds.soon(p.Addr)
		}
	}
	return time.Now().After(r.wholeBy)
}

// tellLink tells it again where the reason is another one.
func (r *roster) tellLink(err error) {
	text := "attached"
	if err != nil {
		text = err.Error()
	}
	if r.told == text {
		return
	}
	r.told, r.attached = text, err == nil
	r.gate.do(func(h driver.Handler) { h.Link(err) })
}

// tellTrouble tells of names without an address: a node that others find works, and
// so does one that starts before them.
func (r *roster) tellTrouble() {
	err := r.seeds.unnamed()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if r.trouble == text {
		return
	}
	r.trouble = text
	r.gate.do(func(h driver.Handler) { h.Trouble("the name of a configured peer has no address", err) })
}
