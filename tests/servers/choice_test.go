package servers_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// inner is the variable that makes TestInner act as a separate run, which the
// environment decides on. Its value says what to do.
const inner = "CLUSTERCHANNEL_TEST_INNER"

// TestInner is no test, but the run that other tests check.
func TestInner(t *testing.T) {
	switch os.Getenv(inner) {
	case "start":
		servers.Start(t, servers.NATS(), servers.Options{})
	case "hold":
		s := servers.Start(t, servers.NATS(), servers.Options{})
		fmt.Printf("\naddr %s\n", s.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

func innerRun(what string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestInner$", "-test.v")
	cmd.Env = append(append(os.Environ(), inner+"="+what), env...)
	cmd.SysProcAttr = process.EndWithParent()
	return cmd
}

func TestChoice(t *testing.T) {
	const (
		noEngine   = "DOCKER_HOST=tcp://127.0.0.1:1"
		noImage    = "CLUSTERCHANNEL_IMAGE_NATS=registry.invalid/no/such:image"
		noPrograms = "PATH="
	)
	empty := t.TempDir()
	for _, c := range []struct {
		choice, want string // want is what the run ends with
		says         string
		env          []string
	}{
		{"required", "FAIL", "no container engine answers", []string{noEngine}},
		{"required", "FAIL", "registry.invalid/no/such:image", []string{noImage}},
		{"container", "SKIP", "no container engine answers", []string{noEngine}},
		{"container", "SKIP", "", []string{noEngine, noPrograms}},
		{"process", "SKIP", "no nats-server in PATH", []string{noPrograms, "XDG_CACHE_HOME=" + empty}},
		{"process", "PASS", "nats-server on this machine", []string{noEngine}},
		{"auto", "PASS", "nats-server on this machine", []string{noEngine}},
		{"", "PASS", "nats-server on this machine", []string{noImage}},
		{"auto", "SKIP", "no nats-server in PATH", []string{noEngine, noPrograms, "XDG_CACHE_HOME=" + empty}},
		{"docker", "FAIL", "want one of auto, container, process, required", nil},
	} {
		t.Run(c.choice+" "+strings.Join(c.env, " "), func(t *testing.T) {
			if c.want == "PASS" {
				needs(t, "process")
			}
			if c.env != nil && c.env[0] == noImage {
				needs(t, "container")
			}
			out, err := innerRun("start", append(c.env, "CLUSTERCHANNEL_SERVERS="+c.choice)...).CombinedOutput()
			if !strings.Contains(string(out), "--- "+c.want+": TestInner") || !strings.Contains(string(out), c.says) {
				t.Errorf("want %s and %q, got %v\n%s", c.want, c.says, err, out)
			}
		})
	}
}

// needs skips a test where an engine is absent, which it finds out by a server.
func needs(t *testing.T, engine string) {
	t.Helper()
	out, err := innerRun("start", "CLUSTERCHANNEL_SERVERS="+engine).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("there is no %s", engine)
	}
}

// TestAnnouncesOnce checks that the line that names the server is printed once
// per run.
func TestAnnouncesOnce(t *testing.T) {
	out, err := innerRun("start", "CLUSTERCHANNEL_SERVERS=auto").CombinedOutput()
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip("there is no server to announce")
	}
	if n := strings.Count(string(out), "servers: nats: "); err != nil || n != 1 {
		t.Errorf("%v, and %d lines\n%s", err, n, out)
	}
}

// TestProcessEndsWithItsRun kills a run as kill -9 does: its server is gone.
func TestProcessEndsWithItsRun(t *testing.T) {
	needs(t, "process")
	run := innerRun("hold", "CLUSTERCHANNEL_SERVERS=process")
	if _, err := run.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	addr := ""
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		addr, _ = strings.CutPrefix(lines.Text(), "addr ")
		if !strings.HasPrefix(lines.Text(), "addr ") {
			addr = ""
		}
	}
	if err := servers.NATS().Ready(t.Context(), addr); err != nil {
		t.Fatalf("the server at %q: %v", addr, err)
	}
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
		select {
		case <-limit.C:
			t.Fatal("the server has outlived its run")
		case <-retry.C:
		}
	}
}
