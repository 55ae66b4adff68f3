package command_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoOutcome is what the demonstration prints with --json.
type demoOutcome struct {
	Backend string
	OK      bool
	Error   string
	Members []struct {
		Name     string
		Position int
	}
	Steps []struct {
		Expect, Got string
		OK          bool
	}
}

// demonstrate runs the demonstration and checks what its outcome must be on
// every backend.
func demonstrate(t *testing.T, name string, args ...string) {
	t.Helper()
	p := run(t, append([]string{"demo", "--json"}, args...)...)
	if code := p.exitCode(t, 90*time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var outcome demoOutcome
	if err := json.Unmarshal([]byte(p.stdout.String()), &outcome); err != nil {
		t.Fatalf("stdout is not one JSON document: %v", err)
	}
	if !outcome.OK || outcome.Error != "" || outcome.Backend != name || len(outcome.Members) != 3 || len(outcome.Steps) != 8 {
		t.Errorf("outcome is %+v, want ok, %s, 3 members, 8 steps", outcome, name)
	}
	for i, m := range outcome.Members {
		if m.Position != i {
			t.Errorf("member %s is at position %d, want %d", m.Name, m.Position, i)
		}
	}
	once := 0
	for _, s := range outcome.Steps {
		if !s.OK {
			t.Errorf("step is not ok: %+v", s)
		}
		if strings.Contains(s.Expect, "1 delivery each, from position 0") {
			once++
		}
	}
	if once != 2 {
		t.Errorf("%d steps are about one delivery, want one with all nodes and one without the first", once)
	}
	if left, err := os.ReadDir(p.cmd.Dir); err != nil || len(left) != 0 {
		t.Errorf("it left %v behind (%v)", left, err)
	}
}

// That on each backend which needs a server is run by TestCommandsOfTheReadme.
func TestDemo(t *testing.T) {
	t.Parallel()
	demonstrate(t, "memberlist")
}

// TestDemoServes runs it with the user's own alerts and text output, and
// expects it to stay.
func TestDemoServes(t *testing.T) {
	t.Parallel()
	alerts := file(t, "own.json", `[{"labels":{"alertname":"DiskFull","host":"db-1"}},{"labels":{"alertname":"DiskFull","host":"db-2"}}]`)
	p := run(t, "demo", "--serve", "--nodes=2", "--alerts="+alerts)
	timer, tick := time.NewTimer(90*time.Second), time.NewTicker(50*time.Millisecond)
	defer timer.Stop()
	defer tick.Stop()
	for !strings.Contains(p.stdout.String(), "Running until interrupted") {
		select {
		case <-tick.C:
		case <-p.ended:
			t.Fatalf("it ended with %v", p.cmd.ProcessState)
		case <-timer.C:
			t.Fatal("it does not come to serving")
		}
	}
	holds(t, "the table", p.stdout.String(), "position", "1 delivery each, from position 0", "node-00", "node-01", "All 8 expectations met")
	found := regexp.MustCompile(`curl (http://\S+)/api/v2/status`).FindStringSubmatch(p.stdout.String())
	if found == nil {
		t.Fatal("it does not say where it serves")
	}
	status, err := get(found[1] + "/api/v2/status")
	if err != nil || strings.Count(status, `"address"`) != 2 || !strings.Contains(status, `"status":"ready"`) {
		t.Errorf("the status is %s, %v; want a cluster of two that is ready", status, err)
	}
	shown, err := get(found[1] + "/api/v2/alerts")
	if err != nil {
		t.Error(err)
	}
	holds(t, "the alerts", shown, "DiskFull", "db-1", "db-2")
	page := regexp.MustCompile(`http://\S+/status\b`).FindString(p.stdout.String())
	if text, err := get(page); err != nil || !strings.Contains(text, "node-01") {
		t.Errorf("the page %q does not show the cluster: %v", page, err)
	}
	p.signal(t, syscall.SIGINT)
	if code := p.exitCode(t, patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	holds(t, "the end", p.stdout.String(), "Interrupted")
	if _, err := get(found[1] + "/-/healthy"); err == nil {
		t.Error("a node still serves")
	}
	if left, err := os.ReadDir(p.cmd.Dir); err != nil || len(left) != 0 {
		t.Errorf("it left %v behind (%v)", left, err)
	}
}

// Who interrupts the demo, or closes its terminal, is not told that it failed.
func TestDemoIsInterrupted(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"interrupt": syscall.SIGINT, "hangup": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := run(t, "demo")
			p.eventually(t, func() error {
				if out := p.stdout.String(); !strings.Contains(out, "nodes on memberlist") {
					return fmt.Errorf("it has not begun: %s", out)
				}
				return nil
			})
			p.signal(t, signal)
			if code := p.exitCode(t, patience); code != 1 {
				t.Errorf("exit code %d, want 1: it has not shown everything", code)
			}
			if out := p.stdout.String() + p.stderr.String(); strings.Contains(out, "FAILED") || strings.Contains(out, "cancel") || !strings.Contains(out, "Interrupted") {
				t.Errorf("it says: %s", out)
			}
			if left, err := os.ReadDir(p.cmd.Dir); err != nil || len(left) != 0 {
				t.Errorf("it left %v behind (%v)", left, err)
			}
		})
	}
}

// TestDemoFails makes each node tell the others a wrong address.
func TestDemoFails(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	p := run(t, "demo", "--param=advertise_address=127.0.0.1:1")
	if code := p.exitCode(t, 2*time.Minute); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	const expectation = "3 nodes agree on positions 0 to 2"
	holds(t, "the table", p.stdout.String(), "FAILED  "+expectation)
	holds(t, "the error", p.stderr.String(), "clusterchannel: expected: "+expectation+"; got: ")
	if strings.Contains(p.stdout.String(), "expectations met") {
		t.Error("it says that all is well")
	}
}
