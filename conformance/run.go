package conformance

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Run checks the backend that h describes. It ends with one line,
// "55 checks: 53 passed, 2 waived", and the time measured for each budget.
func Run(t *testing.T, h Harness) {
	t.Helper()
	h, problems := h.complete()
	for _, p := range problems {
		t.Error(p)
	}
	if len(problems) > 0 {
		return
	}
	s := &suite{h: h, outcomes: map[string]Outcome{}, budgets: newBudgets(h.Timing)}
	if h.Server != nil {
		s.shared = h.Server(t)
	}
	t.Run("basic", func(t *testing.T) { s.runLevel(subtest(t), basic) })
	if !testing.Short() {
		t.Run("fault", func(t *testing.T) { s.runLevel(subtest(t), fault) })
	}
	t.Log(s.summary())
	t.Log(s.budgets.table())
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

	mu       sync.Mutex
	outcomes map[string]Outcome
}

// runLevel runs the checks of one level: side by side, and then one by one those
// that measure the process.
func (s *suite) runLevel(run runner, l level) {
	var wg sync.WaitGroup
	free := make(chan struct{}, s.h.Parallel)
	for _, c := range checks {
		if c.level != l || c.alone {
			continue
		}
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			s.runCheck(run, c)
		})
	}
	wg.Wait()
	for _, c := range checks {
		if c.level == l && c.alone {
			s.runCheck(run, c)
		}
	}
}

func (s *suite) runCheck(run runner, c *check) {
	run(c, func(t testing.TB) {
		if reason := s.h.Waive[c.name]; reason != "" {
			s.note(c.name, Waived)
			t.Logf("waived: %s", reason)
			return
		}
		s.note(c.name, Failed)
		if c.run(t, s) {
			s.note(c.name, Passed)
		}
	})
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
