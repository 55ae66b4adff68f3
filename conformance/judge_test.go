package conformance

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a check that fails so many times.
func failing(times int) *check {
	return &check{name: "test/failing", body: func(e *env) {
		if times--; times >= 0 {
			e.Error("seen: a wrong thing")
		}
	}}
}

// judge runs c as a suite does whose canary was kept from running for so long, and
// returns the outcome and what was reported.
func judge(t *testing.T, c *check, late time.Duration) (Outcome, *quiet, []string) {
	t.Helper()
	s, q := newSuite(t, memoryHarness()), &quiet{TB: t}
	var logs []string
	s.disturbance = func(time.Time) (all, worst time.Duration) { return late, late }
	s.runCheck(func(_ *check, body func(testing.TB)) { body(logging{q, &logs}) }, c)
	return s.outcome(c.name), q, logs
}

// logging keeps what is logged.
type logging struct {
	*quiet
	logs *[]string
}

func (l logging) Logf(format string, args ...any) {
	l.quiet.Errorf(format, args...)
	n := len(l.errors) - 1
	*l.logs, l.errors = append(*l.logs, l.errors[n]), l.errors[:n]
}

func TestAFailureIsJudgedOnlyWhereTheProcessRan(t *testing.T) {
	if o, q, _ := judge(t, failing(1), 0); o != Failed || !strings.Contains(q.first(), "seen: a wrong thing") {
		t.Errorf("in a process that ran: %v, failures %q; want it failed", o, q.errors)
	}
	o, q, logs := judge(t, failing(1), time.Second)
	if text := strings.Join(logs, "\n"); o != NotJudged || len(q.errors) > 0 ||
		!strings.Contains(text, "not judged: the machine kept this process from running for 1s") || !strings.Contains(text, "seen: a wrong thing") {
		t.Errorf("in a process that did not run: %v, failures %q, log %q; want it not judged, and told", o, q.errors, text)
	}
	if o, _, _ := judge(t, failing(0), time.Second); o != Passed {
		t.Errorf("what passes in a process that did not run is %v", o)
	}
}

func TestWhatIsNotJudgedIsTriedAgain(t *testing.T) {
	for times, want := range map[int]Outcome{1: Passed, 2: Passed, 3: NotJudged} {
		c := failing(times)
		saved := checks
		checks = []*check{c}
		s := newSuite(t, memoryHarness())
		s.disturbance = func(time.Time) (all, worst time.Duration) { return time.Second, time.Second }
		tries := 0
		s.runLevel(func(_ *check, body func(testing.TB)) {
			tries++
			body(&quiet{TB: t})
		}, basic)
		got, summary, names := s.outcome(c.name), s.summary(), unjudged(s.in(NotJudged))
		checks = saved
		if got != want || tries != min(times+1, 3) {
			t.Errorf("a check that fails %d times: %v after %d tries, want %v", times, got, tries, want)
		}
		if told := strings.Contains(summary, "1 not judged") && strings.Contains(names, "test/failing"); told != (want == NotJudged) {
			t.Errorf("summary %q, end %q", summary, names)
		}
	}
}

// TestLimitsStretch: time in which the process did not run counts for no limit.
func TestLimitsStretch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, memoryHarness())
		began := time.Now()
		s.disturbance = func(since time.Time) (all, worst time.Duration) { return time.Since(since) / 2, 0 }
		c := &check{name: "test/slow", body: func(e *env) {
			e.within(leave, "it takes one and a half times the limit", func() error {
				if time.Since(began) < 3*e.limit(leave)/2 {
					return errDamaged
				}
				return nil
			})
		}}
		if !c.run(t, s) {
			t.FailNow()
		}
		if b := s.budgets.list()[leave]; b.Stretched < b.Limit/2 || b.Worst > b.Limit {
			t.Errorf("the budget %+v, want it stretched by half of it at least", b)
		}
	})
}
