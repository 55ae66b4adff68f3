package command_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// nemesisTakes is how long one schedule may take, with its bounds.
const nemesisTakes = 3 * time.Minute

func breakIt(t *testing.T, wantCode int, args ...string) *process {
	t.Helper()
	p := run(t, append([]string{"nemesis", "--dir=" + t.TempDir()}, args...)...)
	if code := p.exitCode(t, nemesisTakes); code != wantCode {
		t.Errorf("exit code %d, want %d", code, wantCode)
	}
	return p
}

func TestNemesisReports(t *testing.T) {
	t.Parallel()
	p := breakIt(t, 0, "--backend=memory", "--for=1s", "--length=1s", "--seed=7", "--nodes=3")
	holds(t, "the table", p.stdout.String(), "memory\n", "\nnemesis/one-view ", " passed ", "C9 C12 C16", "\nreach ", " checks: ")
	holds(t, "the progress", p.stderr.String(), "seed 7, ", "after the last fault", "1 schedule from seed 7: all that is promised held in ")
}

// TestNemesisOfAServer plays a schedule again against a server that is up.
func TestNemesisOfAServer(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, servers.Redis(), servers.Options{})
	file := filepath.Join(t.TempDir(), "schedule.txt")
	text := "seed 9\n0s start a b\n500ms for 1s halfopen a\n1s kill b\n2s start b\n"
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	p := breakIt(t, 0, "--backend=redis", "--param=address="+s.Addr(), "--replay="+file, "--format=json", "--quiet")
	var d struct {
		Server string
		Checks []struct{ Name, Outcome, Reason string }
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &d); err != nil {
		t.Fatal(err)
	}
	if d.Server != s.Addr() || len(d.Checks) < 8 || p.stderr.String() != "" {
		t.Errorf("%+v; progress %q", d, p.stderr.String())
	}
	for _, c := range d.Checks {
		want := "passed"
		switch c.Name { // nobody was cut off for long, nor spared
		case "nemesis/status", "nemesis/steady":
			want = "not run"
		}
		if c.Outcome != want {
			t.Errorf("%s: %s %s, want %s", c.Name, c.Outcome, c.Reason, want)
		}
	}
	text = "0s start a b\n1s for 1s server stop\n"
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	p = breakIt(t, 1, "--backend=redis", "--param=address="+s.Addr(), "--replay="+file)
	holds(t, "the message", p.stderr.String(), "the harness of redis cannot do", "server stop")
}

// TestNemesisOfProcesses has nodes that meet each other without a server, one of which
// stands still while another one is killed.
func TestNemesisOfProcesses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "schedule.txt")
	text := "seed 2\n0s start a b c\n1s for 1500ms stop a\n1500ms kill b\n3s start b\n"
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	p := breakIt(t, 0, "--backend=memberlist", "--replay="+file)
	holds(t, "the table", p.stdout.String(), "memberlist\n", " passed, 0 waived, 2 not run")
}

func TestNemesisUsage(t *testing.T) {
	t.Parallel()
	const memory = "--backend=memory"
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"no backend":      {nil, 2, []string{"--backend"}},
		"unknown backend": {[]string{"--backend=carrier-pigeon"}, 2, []string{"carrier-pigeon", "memberlist"}},
		"one node":        {[]string{memory, "--nodes=1"}, 2, []string{"--nodes", "2 to 26"}},
		"no length":       {[]string{memory, "--length=0s"}, 2, []string{"--length"}},
		"no file":         {[]string{memory, "--replay=/does/not/exist"}, 2, []string{"--replay", "/does/not/exist"}},
		"no address":      {[]string{"--backend=redis"}, 2, []string{"--param", "address"}},
		"no server":       {[]string{"--backend=redis", "--param=address=127.0.0.1:1"}, 1, []string{"unavailable"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			holds(t, "the message", breakIt(t, c.code, c.args...).stderr.String(), c.want...)
		})
	}
}
