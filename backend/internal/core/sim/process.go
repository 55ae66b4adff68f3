package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// process is one run of a node: a core, and a model of the shell around it.
type process struct {
	w        *World
	name     string
	instance string
	addr     string
	core     *core.Core
	view     *core.View
	states   map[string]*state
	keys     []string // sorted
	phase    phase
	link     link
	out      outbox
	without  []string // kinds of message that this version does not know
	ownLate  time.Duration
	mad      bool // what it sends is nonsense

	since  time.Duration // when it started
	offset time.Duration // of its clock then
	rate   float64       // at which its clock runs

	wake     time.Duration // when the next Tick is planned; 0: not at all
	asleep   bool          // it stands still
	paused   time.Duration // since when
	deferred []func()      // what waits for it to go on
	numbers  map[number]int
	native   nativeView
	closing  time.Duration // when it was told to leave
}

// phase is where a process is in its life.
type phase uint8

const (
	alive phase = iota
	leaving
	gone
)

// link is a process's connection.
type link struct {
	up         bool
	connection int // the number of the subscription: what is on its way to a former one is lost
}

// number is the name of an update within its origin.
type number struct {
	key         string
	incarnation uint32
	number      uint64
}

var (
	errRefused = errors.New("refused")
	errRemoved = errors.New("the state is removed")
	errBroker  = errors.New("the broker is gone")
)

// start starts a process under name. It has the states that keys name, or those
// of the scenario.
func (w *World) start(name string, keys []string) *process {
	if !slices.Contains(w.names, name) {
		w.names = append(w.names, name)
	}
	run := 1
	for _, p := range w.procs {
		if p.name == name {
			run++
		}
	}
	p := &process{
		w: w, name: name, instance: fmt.Sprintf("%s.%d", name, run), addr: fmt.Sprintf("%s:%d", name, run),
		states: map[string]*state{}, numbers: map[number]int{},
		since: w.now, offset: w.between(0, 1000*time.Hour), rate: 1,
	}
	if drift := w.scenario.Timing.Drift; drift > 0 {
		p.rate += drift * (2*w.rand.Float64() - 1)
	}
	w.procs = append(w.procs, p)
	w.live[name] = p
	w.byID[p.instance] = p
	w.say(p.instance, "starts")
	p.core = core.New(w.scenario.config(p.member(), w.rand.Uint64()), p.clock())
	if len(keys) == 0 {
		keys = w.scenario.Keys
	}
	for _, key := range keys {
		p.addState(key)
	}
	p.carryOut("")
	p.after(w.between(time.Millisecond, 30*time.Millisecond), p.connect)
	p.after(w.between(0, 500*time.Millisecond), p.lookAgain)
	p.after(w.between(0, 30*time.Second), func() { w.net.exchange(p) })
	w.net.topology()
	return p
}

func (p *process) member() core.Member {
	return core.Member{Name: p.name, Instance: p.instance, Addr: p.addr}
}

// clock returns the process's own time.
func (p *process) clock() time.Duration {
	return p.offset + time.Duration(float64(p.w.now-p.since)*p.rate)
}

// worldTime returns when the process's clock shows local.
func (p *process) worldTime(local time.Duration) time.Duration {
	return p.since + time.Duration(float64(local-p.offset)/p.rate) + 1
}

// do calls f now, or when the process goes on, unless it ends before.
func (p *process) do(f func()) {
	switch {
	case p.phase == gone:
	case p.asleep:
		p.deferred = append(p.deferred, f)
	default:
		f()
	}
}

// after has f called once d has passed.
func (p *process) after(d time.Duration, f func()) { p.w.after(d, func() { p.do(f) }) }

// connect opens the driver's connection, and goes on trying.
func (p *process) connect() {
	if p.link.up {
		return
	}
	if !p.w.net.attach(p) {
		p.step(core.LinkDown{Err: errBroker})
		p.after(p.w.between(100*time.Millisecond, time.Second), p.connect)
		return
	}
	p.step(core.LinkUp{Transport: p.w.net.transport()})
	p.w.net.attached(p)
	p.send()
}

// disconnect loses the connection. The process hears of it when it runs.
func (p *process) disconnect(err error, retry time.Duration) {
	if !p.link.up {
		return
	}
	p.w.net.detach(p)
	p.do(func() {
		p.step(core.LinkDown{Err: err})
		p.after(retry, p.connect)
	})
}

// reopen closes the driver and opens another one.
func (p *process) reopen() {
	p.w.net.detach(p)
	p.after(p.w.between(10*time.Millisecond, 200*time.Millisecond), p.connect)
}

// step steps the core, and does what it asks for.
func (p *process) step(e core.Event) {
	if p.phase == gone {
		return
	}
	if p.w.trace != nil {
		p.w.say(p.instance, "< %s", describe(e))
	}
	p.w.check.event(p, e)
	p.core.Step(p.clock(), e)
	p.carryOut(kindOf(e))
}

// carryOut does what the core asks for.
func (p *process) carryOut(cause string) {
	effects := p.core.Effects()
	var reopen, closed bool
	for _, e := range effects {
		if p.w.trace != nil {
			p.w.say(p.instance, "  > %s", describe(e))
		}
		p.w.cover(cause, e)
		p.w.tally.effect(p, e)
		p.w.check.effect(p, e)
		switch e := e.(type) {
		case core.Send:
			p.sendMessage(e)
		case core.Resend:
			p.resend(e)
		case core.Marshal:
			p.marshal(e)
		case core.Fetch:
			p.fetch(e)
		case core.Merge:
			p.merge(e)
		case core.Publish:
			p.view = e.View
		case core.Reopen:
			reopen = true
		case core.Closed:
			closed = true
		}
	}
	for _, e := range effects { // by the view that came of all this
		if e, ok := e.(core.StateReady); ok {
			p.w.check.stateReady(p, e)
		}
	}
	p.w.tally.woken(p, cause, len(effects))
	for _, key := range p.keys {
		p.states[key].work()
	}
	if reopen {
		p.reopen()
	}
	if closed {
		p.end()
		return
	}
	p.rearm()
}

// rearm plans the next Tick. One that is planned too early finds out by itself.
func (p *process) rearm() {
	next := p.core.Next()
	if next == core.Never {
		return
	}
	at := max(p.worldTime(next), p.w.now+50*time.Microsecond)
	if p.wake > p.w.now && p.wake <= at {
		return
	}
	p.wake = at
	p.w.at(at, func() { p.do(func() { p.ring(at) }) })
}

// ring steps a Tick if it is time.
func (p *process) ring(planned time.Duration) {
	if p.wake != planned {
		return
	}
	p.wake = 0
	if p.core.Next() <= p.clock() {
		p.step(core.Tick{})
		return
	}
	p.rearm()
}

// look is what the application does before it trusts the view.
func (p *process) look() {
	if p.core.Late(p.clock()) {
		p.step(core.Tick{})
	}
	p.w.check.look(p)
}

func (p *process) lookAgain() {
	p.look()
	p.after(500*time.Millisecond, p.lookAgain)
}

// hear handles a frame.
func (p *process) hear(f *frame) {
	p.w.tally.heard(p, f)
	if f.message != nil {
		if !slices.Contains(p.without, kindOf(f.message)) {
			p.step(core.Received{From: f.from, Message: f.message, Size: f.size})
		}
		return
	}
	wake := false
	for _, u := range f.updates {
		wake = p.hearUpdate(f.from, u) || wake
	}
	if wake {
		p.carryOut("Update")
	}
}

func (p *process) hearUpdate(origin string, u update) bool {
	v, ref, wake := p.core.Receive(p.clock(), []byte(origin), []byte(u.key), u.incarnation, u.number)
	if p.w.trace != nil {
		p.w.say(p.instance, "< update %s/%s#%d (incarnation %d): %s", origin, u.key, u.number, u.incarnation, verdicts[v])
	}
	p.w.check.verdict(p, origin, u, v)
	p.w.coverVerdict(v)
	if v != core.Deliver {
		return wake
	}
	st := p.states[u.key]
	if st == nil {
		p.w.fail("%s is told to deliver an update for %q, which it does not have", p.instance, u.key)
		return false
	}
	ok := st.enqueue(job{update: u, ref: ref})
	queued := p.core.Queued(p.clock(), ref, ok)
	st.work()
	return wake || queued
}

// addState registers a state.
func (p *process) addState(key string) {
	if p.states[key] != nil {
		return
	}
	p.states[key] = newState(p, key)
	p.keys = append(p.keys, key)
	slices.Sort(p.keys)
	p.step(core.StateAdded{Key: key})
}

// removeState removes a state, and abandons what waits for it.
func (p *process) removeState(key string) {
	st := p.states[key]
	if st == nil {
		return
	}
	delete(p.states, key)
	p.keys = slices.DeleteFunc(p.keys, func(k string) bool { return k == key })
	p.step(core.StateRemoved{Key: key})
	st.abandon()
}

// leave closes the node.
func (p *process) leave() {
	if p.phase != alive {
		return
	}
	p.phase = leaving
	p.closing = p.w.now
	p.step(core.Close{})
	limit := p.w.now + 2*time.Second
	var flush func()
	flush = func() {
		if p.out.busy() && p.w.now < limit {
			p.after(time.Millisecond, flush)
			return
		}
		p.out = outbox{}
		p.step(core.Flushed{})
	}
	p.do(flush)
}

// end ends the process: at the end of leaving, or killed.
func (p *process) end() {
	if p.phase == gone {
		return
	}
	graceful := p.phase == leaving
	p.w.say(p.instance, "ends")
	p.phase = gone
	if p.w.live[p.name] == p {
		delete(p.w.live, p.name)
	}
	p.w.net.ended(p, graceful)
	p.deferred = nil
}

// pause stops the process. What arrives meanwhile waits.
func (p *process) pause() {
	p.w.say(p.instance, "stands still")
	p.asleep, p.paused = true, p.w.now
}

func (p *process) resume() {
	if !p.asleep || p.phase == gone {
		return
	}
	p.w.say(p.instance, "goes on")
	p.asleep = false
	waiting := p.deferred
	p.deferred = nil
	if p.w.net.overflowed(p) {
		p.disconnect(errBroker, 50*time.Millisecond)
	}
	p.w.check.resumed(p, p.paused)
	if p.w.chance(0.5) {
		p.look()
	}
	for _, f := range waiting {
		p.do(f)
	}
}
