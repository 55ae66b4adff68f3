package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/internal/transcript"
)

// Outcome is how a check ended.
type Outcome int

// The outcomes.
const (
	NotRun Outcome = iota // the harness lacks what the check needs, it was not selected, or the run was ended
	Passed
	Waived // see Harness.Waive
	Failed
	NotJudged // it failed each time it was tried, and each time the machine kept the process from running
)

// String returns "not run", "passed", "waived", "failed" or "not judged".
func (o Outcome) String() string {
	return [...]string{"not run", "passed", "waived", "failed", "not judged"}[o]
}

// Report is the outcome of a run.
type Report struct {
	Backend string
	Server  string // Harness.Address
	Started time.Time
	Took    time.Duration
	Results []Result // of the checks that were selected, in the order of Checks
	Budgets []Budget
	Scale   float64 // of the budgets

	NotChecked []string // what the suite cannot see of this backend, or of any
}

// Result is the result of one check.
type Result struct {
	CheckInfo
	Outcome Outcome
	Reason  string // why it was waived, not run or not judged
	Output  string // what it reported
	Took    time.Duration
}

// Budget is one time limit, and the worst that was measured against it. Time in which
// the machine kept the process from running is not counted: by so much the limit
// stretched, Stretched at most.
type Budget struct {
	Name         string
	Limit, Worst time.Duration
	Stretched    time.Duration
	Times        int
}

// Options are those of [Execute].
type Options struct {
	// Select reports whether a check is to be run; nil means all.
	Select func(name string) bool

	// Progress is called as each check ends, by one goroutine at a time; again, if one
	// could not be judged and was tried once more.
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
		suite:   newRun(h),
		ctx:     ctx,
		options: o,
		results: map[string]Result{},
	}
	defer x.suite.canary.End()
	started := time.Now()
	server := transcript.New(ctx, "server")
	defer server.CleanUp()
	if h.Server != nil {
		server.Contained(func() { x.suite.shared = h.Server(server) })
		if server.Failed() {
			return Report{}, fmt.Errorf("conformance: the server: %s", server.Text())
		}
	}
	x.suite.runLevel(x.run, basic)
	x.suite.runLevel(x.run, fault)
	return Report{
		Backend: h.Backend, Server: h.Address, Started: started, Took: time.Since(started),
		Results: x.inOrder(), Budgets: x.suite.budgets.list(), Scale: x.suite.budgets.scale,
		NotChecked: x.suite.blind(),
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
		t := transcript.New(context.WithoutCancel(x.ctx), c.name)
		t.Run(body)
		r.Took, r.Output, r.Outcome = time.Since(start), t.Text(), x.suite.outcome(c.name)
		if t.Failed() {
			r.Outcome = Failed
		}
		switch r.Outcome {
		case Waived:
			r.Reason, r.Output = x.suite.h.Waive[c.name], ""
		case NotJudged:
			r.Reason = cmp.Or(x.suite.disturbed(start), "the machine kept this process from running")
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

// Summary is the last line of a run: "83 checks: 66 passed, 0 waived, 3 not
// run".
func (r Report) Summary() string { return summaryLine(len(r.Results), r.Count()) }

// Unjudged names the checks that the machine did not let the run judge, in a sentence
// for its end; empty if there are none.
func (r Report) Unjudged() string {
	var names []string
	for _, result := range r.Results {
		if result.Outcome == NotJudged {
			names = append(names, result.Name)
		}
	}
	return unjudged(names)
}

func summaryLine(all int, n map[Outcome]int) string {
	line := fmt.Sprintf("%d checks: %d passed, %d waived", all, n[Passed], n[Waived])
	if n[Failed] > 0 {
		line += fmt.Sprintf(", %d FAILED", n[Failed])
	}
	if n[NotJudged] > 0 {
		line += fmt.Sprintf(", %d not judged", n[NotJudged])
	}
	if n[NotRun] > 0 {
		line += fmt.Sprintf(", %d not run", n[NotRun])
	}
	return line
}
