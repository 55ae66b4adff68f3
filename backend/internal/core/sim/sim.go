// Package sim runs clusters of the core in one goroutine and in virtual time:
// cores, each in a model of the shell that drives it, on a model of a network,
// with whatever may happen to them. The same [Scenario] gives the same run, event
// by event, so a failure is kept as a text file.
//
// A [World] plays a scenario. At every step it holds the cores to what the
// protocol promises at any time, and at the end, when all faults are over, to
// what it promises at rest.
//
// # Files
//
// scenario is the text format, and steps what its lines do. process is the model
// of a shell, with outbox and state for its two ends; network carries its frames,
// as a bus (bus) or a mesh, whose own list of members is native. hostile holds
// what strangers send. check and rest are the promises, and tally counts what the
// budgets are about. generate makes scenarios up, shrink makes them smaller, and
// trace writes them down. covered is the table of the core's transitions.
package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"
)

// World is one run of a scenario.
type World struct {
	scenario *Scenario
	now      time.Duration
	events   events
	rand     *rand.Rand
	net      *network
	names    []string            // of nodes, in the order in which they first started
	procs    []*process          // all that ever ran
	live     map[string]*process // by name
	byID     map[string]*process // by instance
	entries  []entry             // all that was ever said
	tally    *tally
	check    *check
	trace    *strings.Builder // nil: not wanted
	covered  map[transition]int
	figures  []Figure
	failure  *Failure
	invented bool // a stranger spoke of members that are not
	shifts   int  // states of this kind give another digest each time
}

// entry is one thing that was said: what states are made of.
type entry struct {
	by     string // an instance, or empty
	key    string
	at     time.Duration
	silent bool // put into the state without a broadcast
}

// Failure is a promise that was broken.
type Failure struct {
	At   time.Duration
	Text string
}

// Error implements error.
func (f *Failure) Error() string { return fmt.Sprintf("at %v: %s", f.At, f.Text) }

// Figure is a measured value that a scenario sets a limit for.
type Figure struct {
	Line         string // of the scenario
	Value, Limit float64
}

// Result is what came of a run.
type Result struct {
	Failure *Failure
	Figures []Figure
	Covered map[string]int // how often each transition was taken
	Ran     time.Duration  // virtual
	Rested  time.Duration  // from the last fault until all was whole
	Nodes   int            // that ever ran
	Trace   string
}

// Look says how closely a run is looked at.
type Look struct {
	Trace bool // the result says what happened, line by line
	Pure  bool // messages are looked at again, to see that nobody changed them
}

// Run plays s.
func Run(s *Scenario, look Look) *Result {
	w := newWorld(s)
	if look.Trace {
		w.trace = new(strings.Builder)
	}
	w.check.pure = look.Pure
	w.play()
	r := &Result{Failure: w.failure, Figures: w.figures, Covered: w.transitions(), Ran: w.now, Rested: w.check.rested, Nodes: len(w.procs)}
	if look.Trace {
		r.Trace = w.trace.String()
	}
	return r
}

func newWorld(s *Scenario) *World {
	w := &World{
		scenario: s,
		rand:     rand.New(rand.NewPCG(s.Seed, 0)),
		live:     map[string]*process{},
		byID:     map[string]*process{},
		covered:  map[transition]int{},
	}
	w.net = newNetwork(w)
	w.tally = newTally(w)
	w.check = newCheck(w)
	return w
}

// play runs the scenario's steps, and then the world until it is at rest.
func (w *World) play() {
	defer func() {
		if p := recover(); p != nil {
			w.fail("panic: %v\n%s", p, debug.Stack())
		}
	}()
	for _, s := range w.scenario.Steps {
		w.schedule(s)
	}
	w.run(w.scenario.End())
	if w.failure == nil {
		w.check.untilRest()
	}
}

// run lets time pass until t.
func (w *World) run(t time.Duration) {
	for w.failure == nil {
		e, ok := w.events.next(t)
		if !ok {
			w.now = max(w.now, t)
			return
		}
		w.now = e.at
		e.do()
	}
}

// at has do called at t.
func (w *World) at(t time.Duration, do func()) { w.events.add(max(t, w.now), do) }

// after has do called once d has passed.
func (w *World) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// between returns a random duration from lo to hi.
func (w *World) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rand.Int64N(int64(hi-lo)+1))
}

// chance reports whether what has this probability happens.
func (w *World) chance(p float64) bool { return p > 0 && w.rand.Float64() < p }

// fail ends the run.
func (w *World) fail(format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{At: w.now, Text: fmt.Sprintf(format, args...)}
		w.say("", "FAILED: %s", w.failure.Text)
	}
}

// running returns the processes that run, in the order of their names' first start.
func (w *World) running() []*process {
	all := make([]*process, 0, len(w.names))
	for _, name := range w.names {
		if p := w.live[name]; p != nil {
			all = append(all, p)
		}
	}
	return all
}
