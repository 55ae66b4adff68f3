package nemesis

import (
	"fmt"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
)

// reporter gathers the outcome of a run.
type reporter struct {
	Report
	o       Options
	bounds  bounds
	began   time.Time
	budgets map[string]*conformance.Budget
	shown   map[*promise]int // in how many schedules a promise was judged
}

func newReport(a *arena, o Options) *reporter {
	r := &reporter{o: o, bounds: a.bounds, began: time.Now(), budgets: map[string]*conformance.Budget{}, shown: map[*promise]int{}}
	r.Backend, r.Server, r.Started, r.Scale, r.Seed = a.h.Backend, a.h.Address, r.began, 1, o.Seed
	if o.Replay != nil {
		r.Seed = o.Replay.Seed
	}
	return r
}

// add adds a run that has ended.
func (r *reporter) add(w *world, took time.Duration) {
	r.Played++
	p := Played{Schedule: w.schedule, Took: took, Violation: w.violation, NotJudged: w.unjudged}
	for name, took := range w.measured {
		p.Whole = max(p.Whole, took)
		if r.budgets[name] == nil {
			r.budgets[name] = &conformance.Budget{Name: name}
		}
		b := r.budgets[name]
		b.Worst = max(b.Worst, took)
		b.Times++
	}
	for p := range w.shown {
		r.shown[p]++
	}
	r.Report.NotJudged += len(w.unjudged)
	if w.violation != nil {
		r.Violations = append(r.Violations, w.violation)
	}
	if r.o.Progress != nil {
		r.o.Progress(p)
	}
}

// finish returns the report.
func (r *reporter) finish() Report {
	r.Took = time.Since(r.began)
	for _, p := range promises {
		result := conformance.Result{CheckInfo: p.info(), Outcome: conformance.Passed, Took: r.Took}
		if r.shown[p] == 0 {
			result.Outcome, result.Reason = conformance.NotRun, "nothing that happened shows it"
		}
		for _, v := range r.Violations {
			if v.Promise == p.name {
				result.Outcome = conformance.Failed
				result.Output = fmt.Sprintf("%v\n%s\nthe logs and views of the nodes are in %s\n", v, v.Schedule, v.Folder)
			}
		}
		r.Results = append(r.Results, result)
	}
	for p, limit := range map[*promise]time.Duration{oneView: r.bounds.views, ready: r.bounds.ready, reach: r.bounds.whole} {
		if b := r.budgets[p.name]; b != nil {
			b.Limit = limit
		}
	}
	for _, p := range promises {
		if b := r.budgets[p.name]; b != nil {
			r.Budgets = append(r.Budgets, *b)
		}
	}
	return r.Report
}

// Summary is the last line of a run: "12 schedules from seed 7: all that is
// promised held in 5m0s".
func (r Report) Summary() string {
	outcome := "all that is promised held"
	if len(r.Violations) > 0 {
		var all []string
		for _, v := range r.Violations {
			all = append(all, v.Promise)
		}
		outcome = "BROKEN: " + strings.Join(all, ", ")
	}
	schedules := "schedules"
	if r.Played == 1 {
		schedules = "schedule"
	}
	line := fmt.Sprintf("%d %s from seed %d: %s in %v", r.Played, schedules, r.Seed, outcome, r.Took.Round(time.Second))
	if r.NotJudged > 0 {
		line += fmt.Sprintf("; %d times this machine was too slow to judge", r.NotJudged)
	}
	return line
}

// String returns a line on the schedule and its outcome.
func (p Played) String() string {
	line := fmt.Sprintf("seed %d, %d steps, %v: ", p.Schedule.Seed, len(p.Schedule.Steps), p.Took.Round(100*time.Millisecond))
	if p.Violation != nil {
		return line + "BROKEN: " + p.Violation.Promise + ": " + firstLine(p.Violation.Text)
	}
	line += fmt.Sprintf("whole %v after the last fault", p.Whole.Round(10*time.Millisecond))
	for _, text := range p.NotJudged {
		line += "; not judged: " + text
	}
	return line
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
