package nemesis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/internal/canary"
	"github.com/clusterchannel/clusterchannel/conformance/internal/transcript"
)

// world is one run of a schedule: a cluster of its own, from its first node until
// nothing of it is left.
type world struct {
	*arena
	schedule *Schedule
	cluster  string
	tb       transcript.T
	ctx      context.Context // done once a promise is broken, or the run is to end
	stop     context.CancelFunc
	began    time.Time
	ledger   *ledger
	cuts     *cuts
	away     atomic.Bool   // the server has an outage
	quiet    chan struct{} // closed when the nodes stop writing
	turns    *turns
	troubles *troubles

	mu        sync.Mutex
	links     map[string]*link // by name
	nodes     []*node          // all that ever ran
	live      map[string]*node
	story     strings.Builder
	violation *Violation
	unjudged  []string
	measured  map[string]time.Duration // how long after the last fault a promise held
	shown     map[*promise]bool        // what was judged
}

// arena is what all runs of one harness share.
type arena struct {
	h       conformance.Harness
	server  conformance.Server
	can     abilities
	timing  backend.Timing
	bounds  bounds
	canary  *canary.Canary
	beside  bool // see Options
	channel opener

	processes bool // nodes are processes
}

// Violation is a promise that was broken.
type Violation struct {
	Promise  string        // its name, as in the report: "one-view"
	Text     string        // what was seen
	After    time.Duration // since the cluster began
	Schedule *Schedule     // that was played
	Shrunk   *Schedule     // a smaller one that broke the same promise; nil: none was found in the time
	Folder   string        // where all about it was written; empty if that failed
}

// Error implements error.
func (v *Violation) Error() string {
	return fmt.Sprintf("seed %d, after %v: %s: %s", v.Schedule.Seed, v.After.Round(time.Millisecond), v.Promise, v.Text)
}

// play plays a schedule and returns how it went. The error says what of the
// harness did not work.
func (a *arena) play(ctx context.Context, s *Schedule, cluster string) (*world, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := &world{
		arena: a, schedule: s, cluster: cluster, tb: transcript.New(context.WithoutCancel(ctx), "nemesis"), ctx: ctx, stop: stop, began: time.Now(),
		ledger: &ledger{all: map[string]uint32{}}, cuts: newCuts(), quiet: make(chan struct{}),
		links: map[string]*link{}, live: map[string]*node{}, measured: map[string]time.Duration{}, shown: map[*promise]bool{},
	}
	w.turns = newTurns(w)
	w.troubles = newTroubles(a.canary, a.bounds.views+a.bounds.turn) // later than the views' own bound, which speaks first
	before := held()
	w.run()
	w.close()
	if w.broken() == nil && ctx.Err() == nil {
		w.leftNothing(before)
	}
	w.tb.CleanUp()
	if w.tb.Failed() {
		return w, fmt.Errorf("nemesis: the harness: %s", w.tb.Text())
	}
	return w, nil
}

// run plays the steps, and then looks at the cluster at rest.
func (w *world) run() {
	acts := w.turns.start()
	w.steps()
	w.say("the last fault is over")
	close(w.quiet)
	w.turns.end()
	whole := w.ctx.Err() == nil && w.rest()
	w.wait("the turns", acts)
	if whole && w.ctx.Err() == nil {
		w.atRest()
	}
}

// moment is when a step begins or ends.
type moment struct {
	at  time.Duration
	say string
	do  func()
}

// steps carries the steps out, each on its own goroutine, and waits until all are
// over. Once a promise is broken it only ends what has begun.
func (w *world) steps() {
	var all []moment
	for _, s := range w.schedule.Steps {
		all = append(all, w.moments(s)...)
	}
	slices.SortStableFunc(all, func(a, b moment) int { return int(a.at - b.at) })
	var begun sync.WaitGroup
	for _, m := range all {
		w.until(m.at)
		w.say("%s", m.say)
		if strings.HasPrefix(m.say, "begin start") { // what follows is about nodes that are there
			w.contained(m.do)
			continue
		}
		begun.Go(func() { w.contained(m.do) })
	}
	w.wait("the steps", &begun)
}

// wait waits for what was begun. What hangs is given up.
func (w *world) wait(what string, begun *sync.WaitGroup) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		begun.Wait()
	}()
	for began := w.canary.Now(); w.canary.Now()-began < w.bounds.hang; {
		select {
		case <-over:
			return
		case <-time.After(poll):
		}
	}
	w.fail(lifecycle, "%s hang for %v:\n%s", what, w.bounds.hang, stacks())
}

// moments returns the beginning of a step, and its end if it has one.
func (w *world) moments(s Step) []moment {
	var end func()
	ready := make(chan struct{})
	text, lasts := strings.Join(s.Args, " "), actions[s.Args[0]].lasts
	over := func() {}
	begin := moment{s.At, "begin " + text, func() {
		defer close(ready)
		if w.ctx.Err() != nil {
			return
		}
		over = w.troubles.begin(s.befalls()...)
		end = actions[s.Args[0]].begin(w, s.Args[1:])
		if !lasts {
			over()
		}
	}}
	if !lasts {
		return []moment{begin}
	}
	return []moment{begin, {s.At + s.For, "end " + text, func() {
		<-ready
		defer func() { over() }()
		if end != nil {
			end()
		}
	}}}
}

// until waits until so much time has passed, or the run is to end.
func (w *world) until(at time.Duration) {
	timer := time.NewTimer(at - time.Since(w.began))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ctx.Done():
	}
}

// contained calls f, which may call hooks of the harness.
func (w *world) contained(f func()) { w.tb.Contained(f) }

// say adds a line to the story of the run.
func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(format, args...)
}

// tell is say for who holds mu.
func (w *world) tell(format string, args ...any) {
	now := time.Now()
	fmt.Fprintf(&w.story, "%s %8.3fs %s\n", now.Format(clock), now.Sub(w.began).Seconds(), fmt.Sprintf(format, args...))
}

// fail notes that a promise is broken, and ends the run. Only the first one
// counts.
func (w *world) fail(p *promise, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	w.tell("BROKEN: %s: %s", p.name, text)
	if w.violation == nil {
		w.violation = &Violation{Promise: p.name, Text: text, After: time.Since(w.began), Schedule: w.schedule}
	}
	w.stop()
}

// judged notes that p was looked at.
func (w *world) judged(p *promise) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown[p] = true
}

// notJudged notes that this machine was too slow to judge something.
func (w *world) notJudged(p *promise, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := p.name + ": " + fmt.Sprintf(format, args...)
	w.tell("not judged: %s", text)
	w.unjudged = append(w.unjudged, text)
}

func (w *world) broken() *Violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.violation
}

// living returns the node of that name that lives, or nil.
func (w *world) living(name string) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.live[name]
}

// alive returns the nodes that live, in the order of their names.
func (w *world) alive() []*node {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*node, 0, len(w.live))
	for _, n := range w.live {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *node) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// forget releases what is kept of the nodes, and of what they wrote.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = nil
	clear(w.links)
	w.ledger = &ledger{all: map[string]uint32{}}
}

// close ends what is left of the cluster.
func (w *world) close() {
	var wg sync.WaitGroup
	for _, n := range w.alive() {
		wg.Go(func() { w.contained(func() { w.leave(n.key) }) })
	}
	w.wait("the nodes that are to leave", &wg)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.links {
		if l.proxy != nil {
			_ = l.proxy.Close() // nothing needs it any more
		}
	}
}

// late returns for how long at once the process did not run since then.
func (w *world) late(since time.Time) time.Duration {
	_, worst := w.canary.Late(since)
	return worst
}
