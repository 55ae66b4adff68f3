package conformance

import (
	"context"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// in selects the checks whose names begin with one of prefixes.
func in(prefixes ...string) func(string) bool {
	return func(name string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(name, p) {
				return true
			}
		}
		return false
	}
}

func execute(t *testing.T, h Harness, o Options) Report {
	t.Helper()
	r, err := Execute(t.Context(), h, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestExecute(t *testing.T) {
	var progress []string
	r := execute(t, memoryHarness(), Options{
		Select:   in("members/j", "fault/server-restart", "life/leaves-nothing"),
		Progress: func(r Result) { progress = append(progress, r.Name) },
	})
	if want := "3 checks: 3 passed, 0 waived"; r.Summary() != want {
		t.Errorf("summary %q, want %q", r.Summary(), want)
	}
	var names []string
	for _, c := range r.Results {
		names = append(names, c.Name)
		if c.Outcome != Passed || c.Took <= 0 || c.Rule == "" || c.Level == "" {
			t.Errorf("result %+v", c)
		}
	}
	if got, want := strings.Join(names, " "), "members/join fault/server-restart life/leaves-nothing"; got != want {
		t.Errorf("results of %s, want %s", got, want)
	}
	if got, want := strings.Join(progress, " "), "members/join life/leaves-nothing fault/server-restart"; got != want {
		t.Errorf("progress of %s, want %s", got, want)
	}
	if len(r.Budgets) != int(numBudgets) || r.Budgets[converge].Times == 0 || r.Budgets[converge].Limit == 0 {
		t.Errorf("budgets %+v", r.Budgets)
	}
}

func TestExecuteReportsWhatFails(t *testing.T) {
	h := memoryHarness()
	open := h.Driver
	h.Driver = func(t testing.TB, n Node) driver.OpenFunc {
		return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			d, err := open(t, n)(ctx, o)
			return mute{d}, err
		}
	}
	r := execute(t, h, Options{Select: in("members/join", "config/unknown")})
	if got := r.Results[1]; got.Outcome != Failed || !strings.Contains(got.Output, "C9 one view") || !strings.Contains(got.Output, "not within") {
		t.Errorf("a driver that sends nothing: %v, output %q; want a failure that cites its rule", got.Outcome, got.Output)
	}
	if got := r.Results[0]; got.Outcome != Passed {
		t.Errorf("%s: %v", got.Name, got.Outcome)
	}
	if want := "2 checks: 1 passed, 0 waived, 1 FAILED"; r.Summary() != want {
		t.Errorf("summary %q, want %q", r.Summary(), want)
	}
}

// mute sends nothing.
type mute struct{ driver.Driver }

func (mute) Broadcast(context.Context, []byte) error { return nil }

func TestExecuteRunsNoCheckWithoutWhatItNeeds(t *testing.T) {
	h := Harness{Backend: "memory", Waive: map[string]string{"fault/long-outage": "too long"}}
	for name, want := range map[string]Result{
		"fault/server-restart":   {Outcome: NotRun, Reason: "needs a server it may stop (Harness.Server)"},
		"fault/short-outage":     {Outcome: NotRun, Reason: "needs links it may cut (Harness.Server or Harness.Cut)"},
		"isolation/foreign-data": {Outcome: NotRun, Reason: "needs to send as a stranger (Harness.Inject)"},
		"fault/long-outage":      {Outcome: Waived, Reason: "too long"},
		"members/self-at-once":   {Outcome: Passed},
	} {
		r := execute(t, h, Options{Select: in(name)})
		if got := r.Results[0]; len(r.Results) != 1 || got.Outcome != want.Outcome || got.Reason != want.Reason {
			t.Errorf("%s: %v %q, want %v %q", name, got.Outcome, got.Reason, want.Outcome, want.Reason)
		}
	}
}

func TestExecuteEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := memoryHarness()
	h.Parallel = 1
	r, err := Execute(ctx, h, Options{Select: in("members/"), Progress: func(Result) { cancel() }})
	if err != nil {
		t.Fatal(err)
	}
	n := r.Count()
	if n[Passed] < 1 || n[Passed] > 2 || n[NotRun] != len(r.Results)-n[Passed] { // one that works, and one that waits
		t.Errorf("%s; want one or two passed before the end", r.Summary())
	}
	if last := r.Results[len(r.Results)-1]; last.Reason != "the run was ended" {
		t.Errorf("reason %q", last.Reason)
	}
}

func TestExecuteRefusesABadHarness(t *testing.T) {
	server := func(testing.TB) Server { return remoteServer("127.0.0.1:1") }
	broken := func(t testing.TB) Server { t.Fatal("no engine"); return nil }
	for want, h := range map[string]Harness{
		"not registered":   {Backend: "nope"},
		"somebody else's":  {Backend: "memory", Server: server, Address: "127.0.0.1:1"},
		"is not host:port": {Backend: "memory", Address: "localhost"},
		"no engine":        {Backend: "memory", Server: broken},
	} {
		if _, err := Execute(t.Context(), h, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
