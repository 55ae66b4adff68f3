package process

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPortIsNobodyElses(t *testing.T) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]bool{}
	for range 50 {
		wg.Go(func() {
			port := Port(t)
			mu.Lock()
			defer mu.Unlock()
			if seen[port] || port < firstPort || port >= firstPort+portCount {
				t.Errorf("the port is %d", port)
			}
			seen[port] = true
		})
	}
	wg.Wait()
}

func TestPortIsMarkedWhileTheTestRuns(t *testing.T) {
	addr := ""
	t.Run("a test", func(t *testing.T) {
		addr = fmt.Sprintf("127.0.0.1:%d", Port(t))
		if mark, err := net.ListenPacket("udp4", addr); err == nil {
			_ = mark.Close()
			t.Error("the port bears no mark")
		}
		l, err := net.Listen("tcp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	})
	mark, err := net.ListenPacket("udp4", addr)
	if err != nil {
		t.Fatalf("the mark outlives the test: %v", err)
	}
	_ = mark.Close()
}

func TestFind(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	t.Setenv("PATH", "")
	const name = "a-server-of-this-test"
	if path, err := Find(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("%q, %v", path, err)
	}
	if err := os.MkdirAll(Cache(), 0o755); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(Cache(), name)
	if err := os.WriteFile(want, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if path, err := Find(name); err != nil || path != want {
		t.Errorf("%q, %v", path, err)
	}
}

// shell is a server that is a shell script, ready once it has made a file.
func shell(t *testing.T, script string) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{
		log: filepath.Join(t.TempDir(), "log"),
		spec: Spec{Path: "/bin/sh", Args: []string{"-c", script}, Data: dir, Halt: syscall.SIGKILL, Ready: func(context.Context, string) error {
			_, err := os.Stat(filepath.Join(dir, "ready"))
			return err
		}},
	}
	t.Cleanup(func() {
		if err := s.kill(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestServerThatEndsIsNotReady(t *testing.T) {
	s := shell(t, "echo of no avail; exit 3")
	if err := s.start(); err == nil || !strings.Contains(err.Error(), "ended before it was ready: exit status 3") {
		t.Errorf("the error is %v", err)
	}
	if s.Logs() != "of no avail\n" {
		t.Errorf("the logs are %q", s.Logs())
	}
}

// TestChildrenEndWithTheServer starts a child that holds a pipe open, and
// ignores that its parent is gone.
func TestChildrenEndWithTheServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a pipe has a path on Linux alone")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // it was read
	path := filepath.Join(t.TempDir(), "pipe")
	if err := os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), w.Fd()), path); err != nil {
		t.Fatal(err)
	}
	s := shell(t, "(trap '' HUP TERM; exec >"+path+"; touch ready; sleep 1000) & wait")
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	s.Pause(t)
	s.Stop(t)
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
}
