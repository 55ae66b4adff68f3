package command_test

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// suiteTakes is how long the checks that a test here selects may take.
const suiteTakes = 3 * time.Minute

// quick are checks that take no time and need no server.
const quick = "--run=^(members/join|broadcast/any-bytes|config/bad-params|fault/server-restart)$"

func conform(t *testing.T, wantCode int, args ...string) *process {
	t.Helper()
	p := run(t, append([]string{"conformance"}, args...)...)
	if code := p.exitCode(t, suiteTakes); code != wantCode {
		t.Errorf("exit code %d, want %d", code, wantCode)
	}
	return p
}

func holds(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %q", what, w)
		}
	}
}

func TestConformanceTable(t *testing.T) {
	t.Parallel()
	p := conform(t, 0, "--backend=memory", quick)
	holds(t, "the table", p.stdout.String(),
		"\nmembers/join ", " passed ", "\nfault/server-restart ", "needs a server it may stop (Harness.Server)",
		"\nconverge ", "\n4 checks: 3 passed, 0 waived, 1 not run in ")
	holds(t, "the progress", p.stderr.String(), "  1/4 ", "  4/4 ", "members/join passed", "fault/server-restart not run (needs")
	if strings.Contains(p.stdout.String(), "/4 ") {
		t.Error("progress is among the report")
	}
	p = conform(t, 0, "--backend=memory", quick, "--quiet")
	if p.stderr.String() != "" {
		t.Error("--quiet is not")
	}
}

func TestConformanceJSON(t *testing.T) {
	t.Parallel()
	p := conform(t, 0, "--backend=memory", quick, "--format=json")
	var d struct {
		Backend string
		Summary struct{ Checks, Passed int }
		Checks  []struct{ Name, Outcome string }
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &d); err != nil {
		t.Fatal(err)
	}
	if d.Backend != "memory" || d.Summary.Checks != 4 || d.Summary.Passed != 3 || len(d.Checks) != 4 || d.Checks[3].Outcome != "not run" {
		t.Errorf("%+v", d)
	}
}

func TestConformanceJUnit(t *testing.T) {
	t.Parallel()
	p := conform(t, 0, "--backend=memory", quick, "--format=junit")
	var d struct {
		XMLName xml.Name `xml:"testsuites"`
		Tests   int      `xml:"tests,attr"`
		Skipped int      `xml:"skipped,attr"`
		Suites  []struct {
			Cases []struct {
				Name string `xml:"name,attr"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(p.stdout.String()), &d); err != nil {
		t.Fatal(err)
	}
	if d.Tests != 4 || d.Skipped != 1 || len(d.Suites) != 2 || len(d.Suites[0].Cases) != 3 {
		t.Errorf("%+v", d)
	}
}

func TestConformanceMarkdown(t *testing.T) {
	t.Parallel()
	p := conform(t, 0, "--backend=memory", quick, "--format=markdown")
	holds(t, "the document", p.stdout.String(), "### Conformance of `memory`\n", "| C9 | one view | yes | 1 passed |\n", "| C12 | heals for ever | not shown | 1 not run |\n")
}

func TestConformanceFails(t *testing.T) {
	t.Parallel()
	p := conform(t, 1, "--backend=memory", "--run=members/join", "--scale=0.00001")
	holds(t, "the table", p.stdout.String(), " FAILED ", "\nmembers/join FAILED\n", "C9 one view", "1 checks: 0 passed, 0 waived, 1 FAILED in ")
	holds(t, "the error", p.stderr.String(), "clusterchannel: not all checks passed")
}

func TestConformanceUsage(t *testing.T) {
	t.Parallel()
	const memory = "--backend=memory"
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"no backend":        {nil, 2, []string{"--backend"}},
		"unknown backend":   {[]string{"--backend=carrier-pigeon"}, 2, []string{"--backend", "carrier-pigeon", "memberlist"}},
		"broken regexp":     {[]string{memory, "--run=("}, 2, []string{"--run"}},
		"no check":          {[]string{memory, "--run=no-such-check"}, 2, []string{"--run", "no-such-check"}},
		"unknown format":    {[]string{memory, "--format=yaml"}, 2, []string{"--format", "yaml", "junit"}},
		"no parallel":       {[]string{memory, "--parallel=0"}, 2, []string{"--parallel", "0"}},
		"no scale":          {[]string{memory, "--scale=-1"}, 2, []string{"--scale", "-1"}},
		"unknown parameter": {[]string{memory, "--param=colour=red"}, 2, []string{"--param", "colour", "bus"}},
		"no address":        {[]string{"--backend=redis"}, 2, []string{"--param", "address"}},
		"several servers":   {[]string{"--backend=redis", "--param=address=a:1,b:2"}, 2, []string{"--param", "address", "one server"}},
		"no server":         {[]string{"--backend=redis", "--param=address=127.0.0.1:1"}, 1, []string{"unavailable", "127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := conform(t, c.code, c.args...)
			holds(t, "the message", p.stderr.String(), append(c.want, "clusterchannel: ")...)
			if p.stdout.String() != "" && c.code == 1 {
				t.Error("it prints a report")
			}
		})
	}
}

func TestConformanceIsInterrupted(t *testing.T) {
	t.Parallel()
	p := run(t, "conformance", "--backend=memory", "--parallel=1", "--run=members")
	p.eventually(t, func() error {
		if p.stderr.String() == "" {
			return os.ErrNotExist // no check has ended
		}
		return nil
	})
	p.signal(t, syscall.SIGINT)
	if code := p.exitCode(t, suiteTakes); code != 1 {
		t.Errorf("exit code %d", code)
	}
	holds(t, "the table", p.stdout.String(), " passed ", "the run was ended")
}

// TestConformanceOfAServer runs the checks that stop a server, cut it off or
// look into it: all that do not stop it must run.
func TestConformanceOfAServer(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, servers.Redis(), servers.Options{})
	p := conform(t, 0, "--backend=redis", "--param=address="+s.Addr(), "--format=json", "--run=^fault/|^config/|crash|stall|never-blocks|leaves-nothing|foreign-data")
	var d struct {
		Server string
		Checks []struct{ Name, Outcome, Reason string }
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &d); err != nil {
		t.Fatal(err)
	}
	if d.Server != s.Addr() {
		t.Errorf("server %q, want %q", d.Server, s.Addr())
	}
	cannot := map[string]string{
		"config/unreachable-degrades": "a server it may stop",
		"fault/server-restart":        "a server it may stop",
		"fault/server-emptied":        "a server it may stop",
		"life/leaves-nothing":         "to see what is left on the server",
	}
	for _, c := range d.Checks {
		want := conformance.Passed.String()
		if cannot[c.Name] != "" {
			want = conformance.NotRun.String()
		}
		if c.Outcome != want || !strings.Contains(c.Reason, cannot[c.Name]) {
			t.Errorf("%s: %s %q, want %s %q", c.Name, c.Outcome, c.Reason, want, cannot[c.Name])
		}
	}
	if len(d.Checks) < 14 {
		t.Errorf("%d checks", len(d.Checks))
	}
}
