package conformance

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/internal/canary"
)

// Run checks the backend that h describes. It ends with one line,
// "83 checks: 67 passed, 2 waived", and the time measured for each budget. A check
// that fails while the machine keeps the process from running is tried again, and is
// at last not judged: that is no failure, and Run says so at its end, where it also
// lists what it cannot check.
func Run(t *testing.T, h Harness) {
	t.Helper()
	h, problems := h.complete()
	for _, p := range problems {
		t.Error(p)
	}
	if len(problems) > 0 {
		return
	}
	s := newRun(h)
	defer s.canary.End()
	if h.Server != nil {
		s.shared = h.Server(t)
	}
	t.Run("basic", func(t *testing.T) { s.runLevel(subtest(t), basic) })
	if !testing.Short() {
		t.Run("fault", func(t *testing.T) { s.runLevel(subtest(t), fault) })
	}
	t.Log(s.summary())
	t.Log(s.budgets.table())
	if text := unjudged(s.in(NotJudged)); text != "" {
		t.Log(text)
	}
	t.Log(unseenList(s.blind()))
}

// newRun expects a complete harness. The run's canary is to be ended.
func newRun(h Harness) *suite {
	c := canary.Start()
	return &suite{h: h, outcomes: map[string]Outcome{}, budgets: newBudgets(h.Timing), canary: c, disturbance: c.Late}
}

// complete fills in the defaults and returns the reasons why h cannot be run.
func (h Harness) complete() (Harness, []string) {
	var problems []string
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Sprintf("conformance: "+format, args...))
	}
	if _, ok := backend.Lookup(h.Backend); !ok && h.Driver == nil {
		bad("Harness.Backend %q is not registered (registered: %s): import its package, or set Harness.Driver", h.Backend, strings.Join(backend.Registered(), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Waive)) {
		switch c := find(name); {
		case c == nil:
			bad("Harness.Waive names %q, which is no check", name)
		case strings.TrimSpace(h.Waive[name]) == "":
			bad("Harness.Waive gives no reason for %q", name)
		}
	}
	if h.Address != "" {
		if h.Server != nil {
			bad("Harness.Server and Harness.Address are given; a server is the suite's own or somebody else's")
		}
		if _, _, err := net.SplitHostPort(h.Address); err != nil {
			bad("Harness.Address %q is not host:port", h.Address)
		}
		h.Server = func(testing.TB) Server { return remoteServer(h.Address) }
	}
	if h.Parallel < 0 {
		bad("Harness.Parallel is negative")
	}
	if h.Parallel == 0 {
		h.Parallel = 4
	}
	if h.channel == nil {
		h.channel = backend.Open
	}
	if h.limit == 0 {
		h.limit = limit
	}
	timing, err := h.Timing.complete()
	if err != nil {
		bad("%v", err)
	}
	h.Timing = timing
	return h, problems
}

// runner runs one check, body, with its own testing.TB, and returns when it has
// ended.
type runner func(c *check, body func(t testing.TB))

// subtest is the runner of go test.
func subtest(t *testing.T) runner {
	return func(c *check, body func(t testing.TB)) {
		t.Run(c.name, func(t *testing.T) { body(t) })
	}
}

// suite is one run.
type suite struct {
	h       Harness
	shared  Server // used by the checks that leave the server alone; nil without one
	budgets *budgets
	canary  *canary.Canary

	disturbance func(since time.Time) (all, worst time.Duration) // the canary's; for tests

	mu       sync.Mutex
	outcomes map[string]Outcome
	unseen   []string // what its checks cannot see
}

// runLevel runs the checks of one level: side by side those that wait and those that
// work, so many of either, and then one by one those that measure the process.
func (s *suite) runLevel(run runner, l level) {
	var waiting, working, alone []*check
	for _, c := range checks {
		switch {
		case c.level != l:
		case c.alone:
			alone = append(alone, c)
		case c.waits:
			waiting = append(waiting, c)
		default:
			working = append(working, c)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.sideBySide(run, waiting, s.h.Parallel) })
	wg.Go(func() { s.sideBySide(run, working, s.h.Parallel) })
	wg.Wait()
	s.sideBySide(run, alone, 1)
	for range 2 { // now that nothing else runs
		var again []*check
		for _, c := range checks {
			if c.level == l && s.outcome(c.name) == NotJudged {
				again = append(again, c)
			}
		}
		s.sideBySide(run, again, 1)
	}
}

// sideBySide runs so many of checks at a time.
func (s *suite) sideBySide(run runner, checks []*check, width int) {
	var wg sync.WaitGroup
	free := make(chan struct{}, width)
	for _, c := range checks {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			s.runCheck(run, c)
		})
	}
	wg.Wait()
}

func (s *suite) runCheck(run runner, c *check) {
	run(c, func(t testing.TB) {
		if reason := s.h.Waive[c.name]; reason != "" {
			s.note(c.name, Waived)
			t.Logf("waived: %s", reason)
			return
		}
		s.note(c.name, Failed)
		began, a := time.Now(), &attempt{TB: t}
		if c.run(a, s) {
			s.note(c.name, Passed)
			return
		}
		if why := s.disturbed(began); why != "" {
			s.note(c.name, NotJudged)
			t.Logf("not judged: %s; what was seen:\n%s", why, strings.Join(a.failures, "\n"))
			return
		}
		for _, text := range a.failures {
			t.Error(text)
		}
	})
}

// attempt holds back what a check reports as failures until it is known whether the
// check can be judged.
type attempt struct {
	testing.TB

	mu       sync.Mutex
	failures []string
}

func (a *attempt) Error(args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures = append(a.failures, strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

func (a *attempt) Errorf(format string, args ...any) { a.Error(fmt.Sprintf(format, args...)) }

// disturbed says how the machine has kept the process from running since then, if so
// much that a check may have failed for it.
func (s *suite) disturbed(began time.Time) string {
	all, worst := s.disturbance(began)
	took := time.Since(began)
	if worst < s.h.Timing.Channel.Heartbeat/4 && all < took/10 { // what a node hears passes several goroutines
		return ""
	}
	return fmt.Sprintf("the machine kept this process from running for %v of %v, for %v at once",
		all.Round(time.Millisecond), took.Round(time.Millisecond), worst.Round(time.Millisecond))
}

// unjudged is what a run says at its end about the checks that it could not judge.
func unjudged(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("not judged: %s. The machine kept the process from running while they did; run them again on one that is less busy", strings.Join(names, ", "))
}

// in returns the names of the checks that ended so.
func (s *suite) in(o Outcome) (names []string) {
	for _, c := range checks {
		if s.outcome(c.name) == o {
			names = append(names, c.name)
		}
	}
	return names
}

func (s *suite) note(name string, o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[name] = o
}

func (s *suite) outcome(name string) Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outcomes[name]
}

// summary counts the outcomes in one line.
func (s *suite) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[Outcome]int{}
	for _, c := range checks {
		n[s.outcomes[c.name]]++
	}
	return summaryLine(len(checks), n)
}
