// Package nemesis breaks clusters at random, again and again, and looks at what the
// contract promises meanwhile and afterwards. It uses the harness of the conformance
// suite, real servers included:
//
//	func TestNemesis(t *testing.T) {
//		nemesis.Run(t, harness, nemesis.Options{For: 20 * time.Second})
//	}
//
// A [Schedule] says what is done to one cluster, and when: nodes join, leave and
// are killed; links are cut, are half open in one direction or both, stall, delay
// and lose; the server stops, comes back with its data or without, or stands still;
// Merge blocks, panics and fails; several at once. It is made from a seed, and is
// text that can be read and played again. All the while each node writes to several
// states, and waits for its turn to do what should be done once. When all is healed
// the cluster must be whole within the bounds, and in the end nothing may be left of
// it.
//
// Time is measured by what the process itself could do, so that a slow machine does
// not break promises; what cannot be judged on it is said.
//
// [Execute] does the same in a program that is no test.
package nemesis

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/internal/canary"
	"github.com/clusterchannel/clusterchannel/conformance/internal/transcript"
)

// Options are those of a run.
type Options struct {
	// Seed is that of the first schedule; each further one has the next. 0 means a
	// random one.
	Seed uint64

	// For is how long schedules are begun. At least one is played.
	For time.Duration

	// Length is for how long faults begin in a schedule; 0 means 20 s.
	Length time.Duration

	// Nodes is how many nodes a cluster has at most; 0 means 3 to 5.
	Nodes int

	// Processes runs each node in a process of its own, which is really killed, and
	// really stands still. The program must call Node first, and the harness may have
	// no Driver.
	Processes bool

	// Replay is played, once, in place of random schedules.
	Replay *Schedule

	// Shrink is for how long a smaller schedule is looked for that breaks the same
	// promise.
	Shrink time.Duration

	// Dir is where the folder of a violation is made; empty means the directory for
	// temporary files, or in a test that for its artifacts.
	Dir string

	// Progress is called as each schedule ends.
	Progress func(Played)

	// For the tests of the nemesis itself.
	channel opener  // replaces backend.Open
	bounds  *bounds // replaces those of the harness
	beside  bool    // others run in this process: what it holds is not counted
}

// Played is one schedule that was played.
type Played struct {
	Schedule  *Schedule
	Took      time.Duration
	Whole     time.Duration // how long after the last fault all was whole
	Violation *Violation    // nil: all that is promised held
	NotJudged []string      // what could not be judged on this machine
}

// Report is the outcome of a run.
type Report struct {
	// Report has a result for each promise, so that package report prints it.
	conformance.Report

	Played     int
	Seed       uint64 // of the first schedule
	NotJudged  int
	Violations []*Violation
}

// Run plays schedules on the backend that h describes, until a promise is broken or
// the time is over. As the suite's fault checks are, it is left out by -short. It must not run beside other tests of the process: it counts
// goroutines and descriptors. The environment changes a run without the test:
//
//	CLUSTERCHANNEL_NEMESIS_FOR=1h        replaces Options.For, and shrinks what fails
//	CLUSTERCHANNEL_NEMESIS_SEED=7        replaces Options.Seed
//	CLUSTERCHANNEL_NEMESIS_REPLAY=path   replaces Options.Replay by a file, or a violation's folder
//	CLUSTERCHANNEL_NEMESIS_DIR=path      replaces Options.Dir
func Run(t *testing.T, h conformance.Harness, o Options) {
	t.Helper()
	if testing.Short() {
		t.Skip("nemesis: left out by -short")
	}
	if err := o.fromEnv(); err != nil {
		t.Fatal(err)
	}
	if o.Dir == "" {
		o.Dir = t.ArtifactDir()
	}
	var server conformance.Server
	if h.Server != nil {
		server = h.Server(t)
	}
	report := o.Progress
	o.Progress = func(p Played) {
		t.Log(p)
		if report != nil {
			report(p)
		}
	}
	r, err := run(t.Context(), h, server, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Violations {
		t.Errorf("%v\n%s\nSee %s", v, v.Schedule, v.Folder)
	}
	t.Log(r.Summary())
}

// Execute is [Run] for a program that is not run by go test. The error says why h
// cannot be run at all, or what of it did not work.
func Execute(ctx context.Context, h conformance.Harness, o Options) (Report, error) {
	t := transcript.New(context.WithoutCancel(ctx), "server")
	defer t.CleanUp()
	var server conformance.Server
	if h.Server != nil {
		t.Contained(func() { server = h.Server(t) })
		if t.Failed() {
			return Report{}, fmt.Errorf("nemesis: the server: %s", t.Text())
		}
	}
	return run(ctx, h, server, o)
}

// address is a server that somebody else runs. It is never stopped.
type address string

func (a address) Addr() string { return string(a) }
func (a address) Stop(t testing.TB) {
	t.Fatal("nemesis: the server at Harness.Address is somebody else's")
}
func (a address) Start(t testing.TB) { a.Stop(t) }
func (a address) Empty(t testing.TB) { a.Stop(t) }

// newArena fills in what the harness leaves out.
func newArena(h conformance.Harness, server conformance.Server, o Options) (*arena, error) {
	if _, ok := backend.Lookup(h.Backend); !ok && h.Driver == nil {
		return nil, fmt.Errorf("nemesis: Harness.Backend %q is not registered (registered: %s)", h.Backend, strings.Join(backend.Registered(), ", "))
	}
	if o.Processes && h.Driver != nil {
		return nil, errors.New("nemesis: Options.Processes: Harness.Driver cannot reach into another process")
	}
	if h.Address != "" {
		server = address(h.Address)
	}
	a := &arena{h: h, server: server, channel: o.channel, can: abilitiesOf(h, server, o.Processes), beside: o.beside, processes: o.Processes}
	if a.channel == nil {
		a.channel = backend.Open
	}
	orElse := func(d, fallback time.Duration) time.Duration {
		if d == 0 {
			return fallback
		}
		return d
	}
	t := h.Timing.Channel
	a.timing = backend.Timing{
		Heartbeat: orElse(t.Heartbeat, 100*time.Millisecond), Grace: orElse(t.Grace, 2*time.Second),
		Settle: orElse(t.Settle, 5*time.Second), Sync: orElse(t.Sync, 5*time.Second),
	}
	a.bounds = boundsFor(a.timing, orElse(h.Timing.Detect, 5*time.Second))
	if _, several := server.(Cluster); several {
		a.bounds.later(election)
	}
	if o.bounds != nil {
		a.bounds = *o.bounds
	}
	return a, nil
}

// run plays schedules.
func run(ctx context.Context, h conformance.Harness, server conformance.Server, o Options) (Report, error) {
	a, err := newArena(h, server, o)
	if err != nil {
		return Report{}, err
	}
	a.canary = canary.Start()
	defer a.canary.End()
	if o.Seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		o.Seed = uint64(binary.BigEndian.Uint32(b[:]))
	}
	if o.Length == 0 {
		o.Length = 20 * time.Second
	}
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	r := &runner{arena: a, o: o, report: newReport(a, o)}
	err = r.play(ctx)
	return r.report.finish(), err
}

// runner plays one schedule after another.
type runner struct {
	*arena
	o      Options
	report *reporter
	heaps  []uint64 // after each schedule
}

func (r *runner) play(ctx context.Context) error {
	began := time.Now()
	for i := uint64(0); i == 0 || r.o.Replay == nil && time.Since(began) < r.o.For; i++ {
		s := r.o.Replay
		if s == nil {
			s = generate(r.o.Seed+i, r.can, r.o.Nodes, r.o.Length)
		}
		if err := r.playable(s); err != nil {
			return err
		}
		v, err := r.one(ctx, s)
		if err != nil || v != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// playable reports whether the harness can do all that s wants.
func (r *runner) playable(s *Schedule) error {
	for _, step := range s.Steps {
		if !r.can.can(step) {
			return fmt.Errorf("nemesis: the harness of %s cannot do %q", r.h.Backend, step)
		}
	}
	return nil
}

func cluster() string { return "nemesis-" + strings.ToLower(rand.Text()[:10]) }

// one plays a schedule, and reports on it.
func (r *runner) one(ctx context.Context, s *Schedule) (*Violation, error) {
	began := time.Now()
	w, err := r.arena.play(ctx, s, cluster())
	if err != nil {
		return nil, err
	}
	r.grew(w)
	v := w.violation
	if v != nil {
		err = r.pursue(ctx, w)
	}
	if ctx.Err() == nil || v != nil {
		r.report.add(w, time.Since(began))
	}
	return v, err
}

// Heap may grow by so much from one of the first schedules to a later one.
const (
	settled  = 3
	heapRoom = 32 << 20
)

// grew compares the heap, without what w has kept of its nodes, with what it was after
// the first schedules.
func (r *runner) grew(w *world) {
	if w.violation != nil {
		return
	}
	w.forget()
	r.heaps = append(r.heaps, heap())
	if n := len(r.heaps); n > settled && r.heaps[n-1] > r.heaps[settled-1]+heapRoom {
		w.fail(resources, "the heap has %d MiB after %d schedules; after %d it had %d MiB", r.heaps[n-1]>>20, n, settled, r.heaps[settled-1]>>20)
	}
}

// pursue writes all about the violation down, and looks for a smaller schedule.
func (r *runner) pursue(ctx context.Context, w *world) error {
	v := w.violation
	if err := w.record(r.o.Dir); err != nil {
		return errors.Join(v, fmt.Errorf("nemesis: the folder of the violation: %w", err))
	}
	if r.o.Shrink == 0 || r.o.Replay != nil {
		return nil
	}
	v.Shrunk = shrink(w.schedule, time.Now().Add(r.o.Shrink), func(s *Schedule) bool {
		again, err := r.arena.play(ctx, s, cluster())
		return err == nil && again.violation != nil && again.violation.Promise == v.Promise
	})
	if v.Shrunk == nil {
		return nil
	}
	return w.recordShrunk()
}
