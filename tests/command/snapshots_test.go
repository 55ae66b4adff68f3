package command_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// requireAlertmanager is the variable that makes an absent Alertmanager a failure.
const requireAlertmanager = "CCTEST_REQUIRE_ALERTMANAGER"

// theirs starts Alertmanager itself, alone, and returns where its API is.
func theirs(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	path, err := exec.LookPath("alertmanager")
	if err != nil {
		path, err = exec.LookPath("prometheus-alertmanager")
	}
	if err != nil && os.Getenv(requireAlertmanager) == "1" {
		t.Fatalf("no alertmanager binary is in PATH, and %s is 1", requireAlertmanager)
	}
	if err != nil {
		t.Skipf("no alertmanager binary is in PATH (set %s=1 to have this fail)", requireAlertmanager)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	p := runProgram(t, path, append([]string{"--web.listen-address=" + addr, "--cluster.listen-address="}, args...)...)
	p.eventually(t, func() error { _, err := get("http://" + addr + "/-/ready"); return err })
	return p, "http://" + addr
}

// TestStorageMovesBothWays moves a directory from Alertmanager to this program
// and back.
func TestStorageMovesBothWays(t *testing.T) {
	t.Parallel()
	hook := newSink(t)
	args := []string{"--config.file=" + file(t, "am.yml", hook.config()), "--storage.path=" + filepath.Join(t.TempDir(), "data")}
	ours := func(t *testing.T, args ...string) (*process, string) {
		return instance(t, append([]string{"--cluster.listen-address="}, args...)...)
	}
	var made []string // comments of silences; each alert of the same name is sent once
	for i, start := range []func(*testing.T, ...string) (*process, string){theirs, ours, theirs, ours} {
		p, url := start(t, args...)
		for _, comment := range made {
			if silences, err := get(url + "/api/v2/silences"); err != nil || !strings.Contains(silences, fmt.Sprintf("%q", comment)) {
				t.Errorf("owner %d: the silence %s is lost: %s, %v", i, comment, silences, err)
			}
		}
		made = append(made, fmt.Sprintf("of-owner-%d", i))
		silence(t, url, "quiet-"+made[i], made[i])
		for _, name := range made { // those that were sent, and silenced, before the move, and one of each
			alert(t, url, "quiet-"+name)
			alert(t, url, name)
		}
		p.eventually(t, func() error {
			if have := hook.sent(); !slices.Equal(have, made) {
				return fmt.Errorf("sent: %q, want %q", have, made)
			}
			return nil
		})
		p.signal(t, syscall.SIGTERM)
		if code := p.exitCode(t, patience); code != 0 {
			t.Fatalf("owner %d ends with %d", i, code)
		}
	}
}

func TestSnapshotOfAnotherProgram(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"silences", "nflog"} {
		dir := t.TempDir()
		path, content := filepath.Join(dir, name), strings.Repeat("{\"version\": 3}\n", 50)
		writeFile(t, path, content)
		p := run(t, "alertmanager", "--config.file="+file(t, "am.yml", config("nobody")), "--storage.path="+dir,
			"--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
		if code := p.exitCode(t, patience); code == 0 {
			t.Errorf("%s: it started", name)
		}
		if said := p.stderr.String(); !strings.Contains(said, path) || !strings.Contains(said, "no snapshot of Alertmanager") || !strings.Contains(said, "move it away") {
			t.Errorf("%s: the error does not name the file and what to do: %s", name, said)
		}
		if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, []byte(content)) {
			t.Errorf("%s: the file is not as it was: %q, %v", name, left, err)
		}
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		again, url := instance(t, "--config.file="+file(t, "am.yml", config("nobody")), "--storage.path="+dir, "--cluster.listen-address=")
		again.eventually(t, func() error { _, err := get(url + "/-/ready"); return err })
	}
}

// alert posts an alert to one node.
func alert(t *testing.T, url, name string) {
	t.Helper()
	post(t, url+"/api/v2/alerts", fmt.Sprintf(`[{"labels":{"alertname":%q}}]`, name))
}

// silence makes a silence on one node.
func silence(t *testing.T, url, alertname, comment string) {
	t.Helper()
	now := time.Now().UTC()
	post(t, url+"/api/v2/silences", fmt.Sprintf(`{"matchers":[{"name":"alertname","value":%q,"isRegex":false}],"startsAt":%q,"endsAt":%q,"createdBy":"t","comment":%q}`,
		alertname, now.Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339), comment))
}
