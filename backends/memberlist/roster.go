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

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// roster keeps the list of members, and tells the Handler. It starts from what
// memberlist believes, and makes sure:
//
//   - one that said goodbye has left, at once
//   - one whose host refuses connections, twice, has failed, at once
//   - one that memberlist gives up is asked once more, since it may answer
//   - when nobody answers, it is this node that is cut off: the link is lost, and
//     the members stay as they are until memberlist has given up all of them
//
// memberlist's callbacks only note what they are told; run does the rest.
type roster struct {
	self   string // the name of this node
	mesh   *mesh
	seeds  *seeds
	hint   func([]byte) // tells own nodes
	gate   *gate
	logger *slog.Logger
	ctx    context.Context // of run
	wake   chan struct{}

	mu       sync.Mutex
	alive    map[string]*member // the nodes that memberlist holds alive, this one included
	gone     map[string]bool    // nodes that said goodbye
	vacant   map[string]bool    // addresses of those
	refusing map[string]bool    // nodes that only memberlist holds alive
	refusals map[string]bool    // addresses that refused once; true where another node says so
	failed   map[string]*member // nodes to bring back, by name; by name and address if they moved
	others   []*member          // alive, not gone, not refusing; replaced, never modified
	ours     []*member          // of others; likewise
	foreign  []*member          // the Alertmanagers among others; likewise
	changes  chan struct{}      // closed when others is replaced

	// Only run uses the rest.
	shown    map[string]*member   // the members that the Handler knows
	held     map[string]time.Time // nodes that answered after memberlist gave them up, and until when to wait
	isolated bool
	deserted bool      // the last of the others have failed
	told     bool      // Link was called
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
)

// newRoster returns a roster without seeds and hint.
func newRoster(c *conn) *roster {
	return &roster{
		self: nodeName(c.self), mesh: &c.mesh, gate: &c.gate, logger: c.logger, ctx: c.ctx, wake: make(chan struct{}, 1),
		alive: map[string]*member{}, gone: map[string]bool{}, vacant: map[string]bool{},
		refusing: map[string]bool{}, refusals: map[string]bool{}, failed: map[string]*member{},
		changes: make(chan struct{}), shown: map[string]*member{}, held: map[string]time.Time{},
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
	r.mu.Lock()
	defer r.mu.Unlock()
	name := p.node.Name
	if old := r.alive[name]; old == nil || old.Addr != p.Addr {
		delete(r.gone, name) // it left one address for another
	}
	r.alive[name] = p
	delete(r.refusing, name)
	delete(r.failed, name)
	if !r.gone[name] {
		delete(r.vacant, p.Addr)
	}
	for old, f := range r.failed {
		if f.Addr == p.Addr || (!f.foreign && f.Name == p.Name && name != r.self) {
			delete(r.failed, old) // its successor is here
		}
	}
	r.updated()
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
	failed := r.alive[name] == nil || r.refusing[name]
	r.bringBack(name+" at "+p.Addr, p)
	return failed
}

// lost notes that memberlist no longer holds a node alive.
func (r *roster) lost(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.alive, name)
	delete(r.refusing, name)
	r.updated()
}

// answered notes that a node has answered a probe, and returns it unless it has
// left.
func (r *roster) answered(name string) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusing[name] {
		delete(r.refusing, name)
		r.updated()
	}
	if r.gone[name] {
		return nil
	}
	return r.alive[name]
}

// refused notes that nothing listens at addr. It is called by the transport.
func (r *roster) refused(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubt(addr, false)
}

func (r *roster) doubt(addr string, hinted bool) {
	for _, p := range r.others {
		if p.Addr == addr {
			r.refusals[addr] = hinted
			r.signal()
			return
		}
	}
}

// updated recomputes what follows from the notes. r.mu is held.
func (r *roster) updated() {
	r.others, r.ours, r.foreign = make([]*member, 0, len(r.alive)), nil, nil
	for name, p := range r.alive {
		if name == r.self || r.gone[name] || r.refusing[name] {
			continue
		}
		r.others = append(r.others, p)
		if p.foreign {
			r.foreign = append(r.foreign, p)
		} else {
			r.ours = append(r.ours, p)
		}
	}
	close(r.changes)
	r.changes = make(chan struct{})
	r.signal()
}

// current returns the live others; the slice must not be modified.
func (r *roster) current() []*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.others
}

// kinds returns the live others: own nodes, and Alertmanagers; the slices must
// not be modified.
func (r *roster) kinds() (ours, foreign []*member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ours, r.foreign
}

// find returns a live own member. It waits briefly for one that is not there: a
// node that joins may be heard before it is known.
func (r *roster) find(ctx context.Context, instance string) *member {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	for {
		r.mu.Lock()
		ours, changes := r.ours, r.changes
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
func (r *roster) toReach() (failed []string, alive map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	alive = map[string]bool{}
	for _, p := range r.alive {
		alive[p.Addr] = true
	}
	for _, p := range r.failed {
		failed = append(failed, p.Addr)
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
	controlRefused = 'r' // the named node's host refuses connections
	controlAsk     = 'a' // a packet is to be sent to the address
	controlEcho    = 'e' // the packet that was asked for
)

func controlMessage(kind byte, name string) []byte {
	return append([]byte{controlMark, kind}, name...)
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
		}
		r.gone[name] = true
		r.vacate(p.Addr)
		r.updated()
	case controlRefused:
		r.doubt(p.Addr, true)
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

// turn checks everything once, and returns the latest time for the next check.
func (r *roster) turn() time.Duration {
	r.confirmRefusals()
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
	if !known && !r.wholeBy.IsZero() {
		again = min(again, wholeTimeout/10)
	}
	return again
}

// show returns the members to show: this node and the live others.
func (r *roster) show() map[string]*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := make(map[string]*member, len(r.others)+1)
	if self := r.alive[r.self]; self != nil {
		now[r.self] = self
	} else if self := r.shown[r.self]; self != nil {
		now[r.self] = self
	}
	for _, p := range r.others {
		now[p.node.Name] = p
	}
	return now
}

// missing finds out what happened to members that are shown and no longer
// alive. Those in neither list stay, and are checked again if wait is set.
func (r *roster) missing() (left, failed []*member, wait bool) {
	var ask []*member
	r.mu.Lock()
	live := make(map[string]bool, len(r.others))
	for _, p := range r.others {
		live[p.node.Name] = true
	}
	others := r.others
	sure := false // whether this node is known to reach any other
	for name, p := range r.shown {
		switch {
		case name == r.self || live[name]:
			delete(r.held, name)
		case r.gone[name]:
			left = append(left, p)
		case r.refusing[name]:
			failed = append(failed, p)
			sure = true
		default:
			ask = append(ask, p)
		}
	}
	r.mu.Unlock()
	var silent []*member
	for i, answers := range r.ping(ask) {
		p, name := ask[i], ask[i].node.Name
		until, holding := r.held[name]
		switch {
		case answers && p.foreign:
			left = append(left, p) // it said so to memberlist, and still runs
			sure = true
		case answers && (!holding || time.Now().Before(until)):
			if !holding {
				r.held[name] = time.Now().Add(holdFor)
			}
			r.seeds.soon(p.Addr)
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

// ping asks all of them at once.
func (r *roster) ping(members []*member) []bool {
	answers := make([]bool, len(members))
	var wg sync.WaitGroup
	for i, p := range members {
		wg.Go(func() { answers[i] = r.mesh.ping(p) })
	}
	wg.Wait()
	return answers
}

// reaches reports whether any of some members answers, or accepts a connection
// if packets do not pass.
func (r *roster) reaches(others []*member) bool {
	some := others[:min(lookAt, len(others))]
	if slices.Contains(r.ping(some), true) {
		return true
	}
	accepts := make([]bool, len(some))
	var wg sync.WaitGroup
	for i, p := range some {
		wg.Go(func() { accepts[i] = r.mesh.dial(p) == nil })
	}
	wg.Wait()
	return slices.Contains(accepts, true)
}

// confirmRefusals dials again where a connection was refused. A member that
// refuses again has failed; the others are told, and dial it themselves.
func (r *roster) confirmRefusals() {
	r.mu.Lock()
	doubted := map[*member]bool{}
	for _, p := range r.others {
		if hinted, ok := r.refusals[p.Addr]; ok {
			doubted[p] = hinted
		}
	}
	r.mu.Unlock()
	for p, hinted := range doubted {
		refused := errors.Is(r.mesh.dial(p), syscall.ECONNREFUSED)
		if refused && hinted {
			refused = errors.Is(r.mesh.dial(p), syscall.ECONNREFUSED)
		}
		if !refused {
			continue
		}
		r.mu.Lock()
		same := r.alive[p.node.Name] == p // it may have another address by now
		if same {
			r.refusing[p.node.Name] = true
			r.updated()
		}
		r.mu.Unlock()
		if same && !hinted {
			r.hint(controlMessage(controlRefused, p.node.Name))
		}
	}
	r.mu.Lock()
	clear(r.refusals)
	r.mu.Unlock()
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
	others := len(r.others)
	failed := slices.Collect(maps.Values(r.failed))
	r.mu.Unlock()
	switch {
	case r.isolated:
		return fmt.Errorf("memberlist: none of the %d other members answers: this node is cut off", len(r.shown)-1), true
	case others > 0:
		return nil, r.whole(failed)
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
	if !r.told || r.attached || len(failed) == 0 {
		r.wholeBy = time.Time{}
		return true
	}
	if r.wholeBy.IsZero() {
		r.wholeBy = time.Now().Add(wholeTimeout)
		for _, p := range failed {
			r.seeds.soon(p.Addr)
		}
	}
	return time.Now().After(r.wholeBy)
}

func (r *roster) tellLink(err error) {
	if r.told && r.attached == (err == nil) {
		return
	}
	r.told, r.attached = true, err == nil
	r.gate.do(func(h driver.Handler) { h.Link(err) })
}
