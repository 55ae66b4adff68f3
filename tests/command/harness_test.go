// Package command_test runs the command as its users do.
package command_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	_ "github.com/clusterchannel/clusterchannel/backends/all" // what TestMain builds, so that a change of it is one of these tests
	_ "github.com/clusterchannel/clusterchannel/cmd/command"
)

const patience = 30 * time.Second

var binary string // of this command

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "clusterchannel-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "clusterchannel")
	if out, err := exec.Command("go", "build", "-C", "../../cmd", "-o", binary, "./clusterchannel").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}

// process is one run of the command.
type process struct {
	cmd    *exec.Cmd
	stdout output
	stderr output
	ended  chan struct{}
}

// output may be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// run starts the command.
func run(t *testing.T, args ...string) *process { t.Helper(); return runProgram(t, binary, args...) }

// runProgram starts a program in a directory of its own. At the end of the test
// it is killed if it still runs, and what it printed is shown if the test failed.
func runProgram(t *testing.T, path string, args ...string) *process {
	t.Helper()
	return runIn(t, t.TempDir(), path, args...)
}

// runIn is runProgram in a directory that exists.
func runIn(t *testing.T, dir, path string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "TMPDIR="+p.cmd.Dir)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the tests look at the exit code
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		<-p.ended
		if t.Failed() {
			t.Logf("%q printed:\n%s%s", args, p.stdout.String(), p.stderr.String())
		}
	})
	return p
}

// exitCode waits for the end of the process.
func (p *process) exitCode(t *testing.T, within time.Duration) int {
	t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-timer.C:
		t.Fatalf("still running after %v", within)
		return -1
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// url waits until the process serves its API, and returns where.
func (p *process) url(t *testing.T) (url string) {
	t.Helper()
	p.eventually(t, func() error {
		found := listening.FindStringSubmatch(p.stderr.String())
		if found == nil {
			return fmt.Errorf("it does not listen yet")
		}
		url = "http://" + found[1]
		_, err := get(url + "/-/ready")
		return err
	})
	return url
}

// eventually waits until check succeeds, while the process runs.
func (p *process) eventually(t *testing.T, check func() error) {
	t.Helper()
	timer, tick := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer timer.Stop()
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-p.ended:
			t.Fatalf("it ended with %v: %v", p.cmd.ProcessState, err)
		case <-timer.C:
			t.Fatalf("after %v: %v", patience, err)
		}
	}
}

var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(url string) (string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, b)
	}
	return string(b), err
}

func writeFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// file writes content to a file of that name.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	writeFile(t, path, content)
	return path
}

func config(receiver string) string {
	return fmt.Sprintf("route: {receiver: %s}\nreceivers: [{name: %[1]s}]\n", receiver)
}
