package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChecksAreWellFormed(t *testing.T) {
	seen := map[string]bool{}
	valid := regexp.MustCompile(`^[a-z]+/[a-z]+(-[a-z]+)*$`)
	for _, c := range Checks() {
		if seen[c.Name] || !valid.MatchString(c.Name) {
			t.Errorf("the name %q is taken or malformed", c.Name)
		}
		seen[c.Name] = true
		if c.Level != "basic" && c.Level != "fault" {
			t.Errorf("%s has the level %q", c.Name, c.Level)
		}
		if !regexp.MustCompile(`(?m)^C\d+ \S`).MatchString(c.Rule) {
			t.Errorf("%s cites no line of the contract: %q", c.Name, c.Rule)
		}
	}
	for i := range 22 {
		if rules[i+1] == "" {
			t.Errorf("C%d has no text", i+1)
		}
	}
}

func TestEveryRuleIsDefended(t *testing.T) {
	for n := range rules {
		if !slices.ContainsFunc(checks, func(c *check) bool { return slices.Contains(c.rules, n) }) {
			t.Errorf("no check defends C%d", n)
		}
	}
}

func TestHarnessIsCheckedBeforeTheRun(t *testing.T) {
	for name, test := range map[string]struct {
		alter func(*Harness)
		want  string
	}{
		"unknown backend": {func(h *Harness) { h.Backend, h.Driver = "nope", nil }, `"nope" is not registered`},
		"unknown waiver":  {func(h *Harness) { h.Waive = map[string]string{"members/nope": "reason"} }, `names "members/nope", which is no check`},
		"empty reason":    {func(h *Harness) { h.Waive = map[string]string{"members/join": " "} }, `no reason for "members/join"`},
		"loose budget":    {func(h *Harness) { h.Timing.Leave = 2 * time.Second }, "leave is 2s; the contract allows up to 1s"},
		"negative scale":  {func(h *Harness) { h.Timing.Scale = -1 }, "Scale"},
		"negative width":  {func(h *Harness) { h.Parallel = -1 }, "Parallel is negative"},
	} {
		t.Run(name, func(t *testing.T) {
			h := memoryHarness()
			test.alter(&h)
			if _, problems := h.complete(); len(problems) != 1 || !strings.Contains(problems[0], test.want) {
				t.Errorf("problems %q, want one that holds %q", problems, test.want)
			}
		})
	}
	if _, problems := memoryHarness().complete(); len(problems) > 0 {
		t.Errorf("problems %q with a good harness", problems)
	}
}

func TestMissingHookFails(t *testing.T) {
	for check, hook := range map[string]string{
		"fault/server-restart":   "Harness.Server",
		"fault/partition-heal":   "Harness.Server or Harness.Cut",
		"config/bad-params":      "Harness.Bad",
		"isolation/foreign-data": "Harness.Inject",
		"life/leaves-nothing":    "Harness.Residue",
	} {
		h := Harness{Backend: "memory"}
		if check == "life/leaves-nothing" {
			h.Server = memoryHarness().Server
		}
		q := &quiet{TB: t}
		if find(check).run(q, newSuite(t, h)) || !strings.Contains(q.first(), hook) {
			t.Errorf("%s without %s: %q, want a failure that names it", check, hook, q.first())
		}
	}
}

func TestHangIsAFailure(t *testing.T) {
	h := memoryHarness()
	h.limit = 50 * time.Millisecond
	stop := make(chan struct{})
	ended := make(chan struct{})
	q := &quiet{TB: t}
	c := &check{name: "test/hang", body: func(e *env) {
		defer close(ended)
		<-stop
		e.Errorf("reported after it was given up")
	}}
	if c.run(q, newSuite(t, h)) {
		t.Error("a check that hangs passed")
	}
	close(stop)
	<-ended
	if first := q.first(); !strings.Contains(first, "test/hang hangs") || len(q.errors) != 1 || !strings.Contains(q.errors[0], "goroutine ") {
		t.Errorf("%d failures, the first %q; want one with a dump of the goroutines", len(q.errors), first)
	}
}

func TestPanicAndSkipAreFailures(t *testing.T) {
	for what, body := range map[string]func(*env){
		"panic": func(*env) { panic("boom") },
		"skip":  func(e *env) { e.Skip("no reason") },
		"fatal": func(e *env) { e.Fatal("done") },
		"fail":  func(e *env) { e.FailNow() },
	} {
		q := &quiet{TB: t}
		c := &check{name: "test/" + what, body: body}
		if c.run(q, newSuite(t, memoryHarness())) || q.first() == "" {
			t.Errorf("a check that ends by %s passed", what)
		}
	}
}

func TestAssertionsTellWhatTheySaw(t *testing.T) {
	q := &quiet{TB: t}
	n := 0
	c := &check{name: "test/eventually", body: func(e *env) {
		e.eventually(20*time.Millisecond, "the moon is blue", func() error {
			n++
			return fmt.Errorf("look %d", n)
		})
	}}
	if c.run(q, newSuite(t, memoryHarness())) || !strings.Contains(q.first(), fmt.Sprintf("the moon is blue: look %d", n)) {
		t.Errorf("failure %q, want the text of look %d", q.first(), n)
	}
	q = &quiet{TB: t}
	c.body = func(e *env) {
		looks := 0
		e.always(time.Minute, "the moon stays blue", func() error {
			if looks++; looks > 3 {
				return fmt.Errorf("green")
			}
			return nil
		})
	}
	if c.run(q, newSuite(t, memoryHarness())) || !strings.Contains(q.first(), "it does not hold that the moon stays blue: green") {
		t.Errorf("failure %q, want it to tell green", q.first())
	}
}

func TestBudgetsAreTakenDown(t *testing.T) {
	s := newSuite(t, memoryHarness())
	c := &check{name: "test/budget", body: func(e *env) {
		e.withinSince(time.Now().Add(-50*time.Millisecond), leave, "at once", func() error { return nil })
	}}
	if !c.run(t, s) {
		t.FailNow()
	}
	if worst := s.budgets.worst[leave]; worst < 50*time.Millisecond || worst > time.Second {
		t.Errorf("worst leave %v", worst)
	}
	if table := s.budgets.table(); !regexp.MustCompile(`leave +\S+ +\S+ +5\dms +1`).MatchString(table) {
		t.Errorf("table:\n%s", table)
	}
}

// TestRunFails runs the suite in another process, since its failure would fail
// this test.
func TestRunFails(t *testing.T) {
	for mode, want := range map[string][]string{
		"no hook":        {"fault/server-restart needs Harness.Server", "checks: 0 passed, 0 waived, 1 FAILED"},
		"waived":         {"waived: there is no server", "checks: 0 passed, 1 waived, "},
		"unknown waiver": {"which is no check"},
	} {
		cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^TestRunInProcess$/^fault$/^fault$/^server-restart$")
		cmd.Env = append(os.Environ(), modeVariable+"="+mode)
		out, err := cmd.CombinedOutput()
		if (err == nil) != (mode == "waived") {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
		for _, text := range want {
			if !strings.Contains(string(out), text) {
				t.Errorf("%s: the output lacks %q:\n%s", mode, text, out)
			}
		}
	}
}

const modeVariable = "CONFORMANCE_TEST_MODE"

// TestRunInProcess is the process of TestRunFails, and does nothing otherwise.
func TestRunInProcess(t *testing.T) {
	h := Harness{Backend: "memory"}
	switch os.Getenv(modeVariable) {
	case "":
		return
	case "waived":
		h.Waive = map[string]string{"fault/server-restart": "there is no server"}
	case "unknown waiver":
		h.Waive = map[string]string{"fault/nope": "there is no server"}
	}
	Run(t, h)
}

// newSuite is a run of single checks.
func newSuite(t *testing.T, h Harness) *suite {
	t.Helper()
	h, problems := h.complete()
	for _, p := range problems {
		t.Error(p)
	}
	s := newRun(h)
	t.Cleanup(s.canary.End)
	if h.Server != nil {
		s.shared = h.Server(t)
	}
	return s
}
