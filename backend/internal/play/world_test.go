package play_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/internal/core/sim"
)

// world is one run of a scenario with real nodes, in virtual time.
type world struct {
	t        *testing.T
	scenario *sim.Scenario
	began    time.Time
	rand     *rand.Rand // of the steps
	net      *network
	due      []action // soonest first
	names    []string // of nodes, in the order in which they first started
	procs    []*process
	live     map[string]*process // by name
	entries  []entry             // all that was ever said
	ending   sync.WaitGroup
	base     map[string]float64 // of the quantities that count up, when they were last reset
	invented bool               // a stranger spoke of members that are not
	lied     bool               // some frame was forged
}

// action is what is to happen at some time.
type action struct {
	at time.Duration
	do func()
}

// entry is one thing that was said: what states are made of.
type entry struct {
	by, key string
	at      time.Duration
	silent  bool // put into the state without a broadcast
}

// process is one run of a node.
type process struct {
	w        *world
	name     string
	instance string
	node     backend.ClusterChannel
	registry *prometheus.Registry
	states   map[string]*state
	late     time.Duration // until its own state holds what it says
	dead     chan struct{} // closed when it is killed
	leaving  bool
}

// play runs the scenario's steps, and then waits until all is at rest.
func play(t *testing.T, s *sim.Scenario) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, scenario: s, began: time.Now(), rand: rand.New(rand.NewPCG(s.Seed, 2)),
			live: map[string]*process{}, base: map[string]float64{},
		}
		w.net = newNetwork(w)
		defer w.end()
		for _, step := range s.Steps {
			w.schedule(step)
		}
		w.run(s.End())
		if s.Rest {
			w.untilRest()
		}
	})
}

func (w *world) now() time.Duration { return time.Since(w.began) }

// at has do called at t, by the one goroutine that plays the steps.
func (w *world) at(t time.Duration, do func()) {
	i, _ := slices.BinarySearchFunc(w.due, t, func(a action, t time.Duration) int {
		return cmp.Or(cmp.Compare(a.at, t), -1) // behind those of the same time
	})
	w.due = slices.Insert(w.due, i, action{t, do})
}

// run lets time pass until t.
func (w *world) run(t time.Duration) {
	for len(w.due) > 0 && w.due[0].at <= t {
		a := w.due[0]
		w.due = w.due[1:]
		if d := a.at - w.now(); d > 0 { // what is due at one time comes as a burst
			w.sleep(d)
		}
		a.do()
	}
	w.sleep(t - w.now())
}

// sleep lets time pass, and all be done that is due by then.
func (w *world) sleep(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
	synctest.Wait()
}

func (w *world) schedule(s sim.Step) {
	do := steps[s.Args[0]]
	if do == nil {
		w.t.Fatalf("no such step: %v", s)
	}
	w.at(s.At, func() {
		end := do(w, s.Args[1:])
		if s.For > 0 && end != nil {
			w.at(w.now()+s.For, end)
		}
	})
}

// running returns the processes that run, in the order of their names' first start.
func (w *world) running() []*process {
	var all []*process
	for _, name := range w.names {
		if p := w.live[name]; p != nil {
			all = append(all, p)
		}
	}
	return all
}

// start starts a process. It has the states that keys name, or those of the
// scenario.
func (w *world) start(name string, keys []string) {
	if w.live[name] != nil {
		return
	}
	if !slices.Contains(w.names, name) {
		w.names = append(w.names, name)
	}
	p := &process{w: w, name: name, registry: prometheus.NewRegistry(), states: map[string]*state{}, dead: make(chan struct{})}
	t := w.scenario.Timing
	config := backend.Config{
		Backend: "play", Cluster: cluster, Name: name, Logger: slog.New(slog.DiscardHandler), Registerer: p.registry,
		Timing: backend.Timing{Heartbeat: t.Heartbeat, Grace: t.Grace, Settle: t.Settle, Sync: cmp.Or(t.Sync, 24*time.Hour)},
		Driver: func(_ context.Context, o driver.Options) (driver.Driver, error) { return w.net.open(p, o) },
	}
	if t.Hold {
		config.OnIsolation = backend.HoldView
	}
	node, err := backend.Open(w.t.Context(), config)
	if err != nil {
		w.t.Fatal(err)
	}
	p.node, p.instance = node, node.View().Self().Instance
	w.live[name] = p
	w.procs = append(w.procs, p)
	if len(keys) == 0 {
		keys = w.scenario.Keys
	}
	for _, key := range keys {
		p.addState(key)
	}
	w.net.topology()
}

func (p *process) addState(key string) {
	if p.states[key] != nil || p.leaving {
		return
	}
	st := newState(p, key)
	var shown backend.State = st
	if p.w.apart(p.name, key) {
		shown = taken{st}
	}
	channel, err := p.node.AddState(key, shown, &backend.StateOptions{QueueItems: p.w.room(p.name, key)})
	if err != nil {
		p.w.t.Fatal(err)
	}
	st.channel = channel
	p.states[key] = st
}

// apart reports whether the state can be taken apart by the versions of its node.
func (w *world) apart(name, key string) bool {
	return slices.Contains(w.scenario.Apart, key) && !slices.ContainsFunc(w.scenario.Steps, func(s sim.Step) bool {
		return s.Args[0] == "without" && (s.Args[1] == name || s.Args[1] == "*") && slices.Contains(s.Args, "Walk")
	})
}

// room returns how many items the queue of a state is to have: the least that any
// step says, or 0.
func (w *world) room(name, key string) (room int) {
	for _, s := range w.scenario.Steps {
		if s.Args[0] != "state" || s.Args[1] != name || s.Args[2] != "*" && s.Args[2] != key {
			continue
		}
		for _, arg := range s.Args[3:] {
			if text, ok := strings.CutPrefix(arg, "room="); ok && (room == 0 || int(part(text)) < room) {
				room = int(part(text))
			}
		}
	}
	return room
}

func (p *process) removeState(key string) {
	st := p.states[key]
	if st == nil || p.leaving {
		return
	}
	delete(p.states, key)
	p.w.ending.Go(st.channel.Remove) // it waits for a Merge
}

// say broadcasts a new entry of key, which the own state holds too.
func (p *process) say(key string) {
	st := p.states[key]
	if st == nil || p.leaving {
		return
	}
	e := p.w.newEntry(p.instance, key, false)
	if p.late > 0 {
		time.AfterFunc(p.late, func() { st.set.add(e) })
	} else {
		st.set.add(e)
	}
	st.channel.Broadcast(encodeEntry(e))
}

func (w *world) newEntry(by, key string, silent bool) int {
	w.entries = append(w.entries, entry{by: by, key: key, at: w.now(), silent: silent})
	return len(w.entries) - 1
}

// kill ends a process as a crash does: nothing that it sends from now on arrives.
func (p *process) kill() {
	if p.w.live[p.name] != p {
		return
	}
	delete(p.w.live, p.name)
	p.leaving = true
	close(p.dead)
	p.w.net.kill(p)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	p.w.ending.Go(func() { _ = p.node.Close(done) }) // a process that is killed reports nothing
}

// leave closes a node. It counts as running until it has gone.
func (p *process) leave() {
	if p.leaving {
		return
	}
	p.leaving = true
	closed := make(chan struct{})
	p.w.ending.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = p.node.Close(ctx) // a hung state is an error of it
		p.w.net.farewell(p)
		close(closed)
	})
	var look func()
	look = func() {
		select {
		case <-closed:
			if p.w.live[p.name] == p {
				delete(p.w.live, p.name)
			}
		default:
			p.w.at(p.w.now()+10*time.Millisecond, look)
		}
	}
	look()
}

// end ends all that runs.
func (w *world) end() {
	for _, p := range w.running() {
		p.kill()
	}
	w.ending.Wait()
	w.net.stop()
	synctest.Wait()
}

// fatalf reports a failure with all that is needed to see it again.
func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("at %v: %s\n\n%s", w.now(), fmt.Sprintf(format, args...), w.scenario)
}
