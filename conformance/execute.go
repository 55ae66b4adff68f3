package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Outcome is how a check ended.
type Outcome int

// The outcomes.
const (
	NotRun Outcome = iota // the harness lacks what the check needs, it was not selected, or the run was ended
	Passed
	Waived // see Harness.Waive
	Failed
)

// String returns "not run", "passed", "waived" or "failed".
func (o Outcome) String() string { return [...]string{"not run", "passed", "waived", "failed"}[o] }

// Report is the outcome of a run.
type Report struct {
	Backend string
	Server  string // Harness.Address
	Started time.Time
	Took    time.Duration
	Results []Result // of the checks that were selected, in the order of Checks
	Budgets []Budget
	Scale   float64 // of the budgets
}

// Result is the result of one check.
type Result struct {
	CheckInfo
	Outcome Outcome
	Reason  string // why it was waived or not run
	Output  string // what it reported
	Took    time.Duration
}

// Budget is one time limit, and the worst that was measured against it.
type Budget struct {
	Name         string
	Limit, Worst time.Duration
	Times        int
}

// Options are those of [Execute].
type Options struct {
	// Select reports whether a check is to be run; nil means all.
	Select func(name string) bool

	// Progress is called as each check ends, by one goroutine at a time.
	Progress func(Result)
}

// Execute is [Run] for a program that is not run by go test. It reports a check
// for which the harness lacks a hook as not run, with the reason, and so too
// the checks that have not begun when ctx is done. The error says why h cannot
// be run at all.
func Execute(ctx context.Context, h Harness, o Options) (Report, error) {
	h, problems := h.complete()
	if len(problems) > 0 {
		return Report{}, errors.New(strings.Join(problems, "\n"))
	}
	x := &execution{
		suite:   &suite{h: h, outcomes: map[string]Outcome{}, budgets: newBudgets(h.Timing)},
		ctx:     ctx,
		options: o,
		results: map[string]Result{},
	}
	started := time.Now()
	server := &transcript{ctx: ctx, name: "server"}
	defer server.cleanUp()
	if h.Server != nil {
		server.contained(func() { x.suite.shared = h.Server(server) })
		if server.Failed() {
			return Report{}, fmt.Errorf("conformance: the server: %s", server.output())
		}
	}
	x.suite.runLevel(x.run, basic)
	x.suite.runLevel(x.run, fault)
	return Report{
		Backend: h.Backend, Server: h.Address, Started: started, Took: time.Since(started),
		Results: x.inOrder(), Budgets: x.suite.budgets.list(), Scale: x.suite.budgets.scale,
	}, nil
}

// execution is one call of Execute.
type execution struct {
	suite   *suite
	ctx     context.Context
	options Options

	mu      sync.Mutex
	results map[string]Result
}

// run is the runner of an execution.
func (x *execution) run(c *check, body func(t testing.TB)) {
	if x.options.Select != nil && !x.options.Select(c.name) {
		return
	}
	r := Result{CheckInfo: c.info(), Reason: x.obstacle(c)}
	if r.Reason == "" {
		start := time.Now()
		t := &transcript{ctx: context.WithoutCancel(x.ctx), name: c.name}
		t.run(body)
		r.Took, r.Output, r.Outcome = time.Since(start), t.output(), x.suite.outcome(c.name)
		if t.Failed() {
			r.Outcome = Failed
		}
		if r.Outcome == Waived {
			r.Reason, r.Output = x.suite.h.Waive[c.name], ""
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.results[c.name] = r
	if x.options.Progress != nil {
		x.options.Progress(r)
	}
}

// obstacle says why c cannot be run, or is empty.
func (x *execution) obstacle(c *check) string {
	lacks := c.lacks(x.suite.h)
	switch {
	case x.suite.h.Waive[c.name] != "":
		return ""
	case x.ctx.Err() != nil:
		return "the run was ended"
	case lacks != nil:
		return fmt.Sprintf("needs %s (%s)", lacks.gives, lacks.name)
	}
	return ""
}

func (x *execution) inOrder() []Result {
	x.mu.Lock()
	defer x.mu.Unlock()
	results := make([]Result, 0, len(x.results))
	for _, c := range checks {
		if r, ok := x.results[c.name]; ok {
			results = append(results, r)
		}
	}
	return results
}

// Count returns how many checks ended in each way.
func (r Report) Count() map[Outcome]int {
	n := map[Outcome]int{}
	for _, result := range r.Results {
		n[result.Outcome]++
	}
	return n
}

// Summary is the last line of a run: "55 checks: 52 passed, 0 waived, 3 not
// run".
func (r Report) Summary() string { return summaryLine(len(r.Results), r.Count()) }

func summaryLine(all int, n map[Outcome]int) string {
	line := fmt.Sprintf("%d checks: %d passed, %d waived", all, n[Passed], n[Waived])
	if n[Failed] > 0 {
		line += fmt.Sprintf(", %d FAILED", n[Failed])
	}
	if n[NotRun] > 0 {
		line += fmt.Sprintf(", %d not run", n[NotRun])
	}
	return line
}
