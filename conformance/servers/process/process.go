// Package process runs a server of the tests from a binary of this machine, on
// the loopback interface. The process ends with the test, and with the test's
// own process if that is killed.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to answer, and to end.
const patience = 30 * time.Second

// Spec says which program the server is, and how to check that it answers.
type Spec struct {
	Path string   // of the binary
	Args []string // without the name of the program
	Env  []string // "KEY=value", besides the environment of the test
	Addr string   // where the server will listen
	Data string   // the directory that the server stores its data in; Empty removes what is in it

	// Halt is what Stop sends; zero means SIGKILL. It is for a server whose
	// children would otherwise outlive it, and must end the server at once.
	Halt syscall.Signal

	// Ready returns nil once the server answers its protocol.
	Ready func(ctx context.Context, addr string) error
}

// Server is a server that runs as a process. It is a conformance.Server. Its
// methods are for one goroutine at a time, but for Addr and Logs.
type Server struct {
	spec Spec
	log  string

	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
}

// Start starts a server and waits until it answers. It is stopped for good in
// t.Cleanup.
func Start(t testing.TB, spec Spec) *Server {
	t.Helper()
	if spec.Halt == 0 {
		spec.Halt = syscall.SIGKILL
	}
	s := &Server{spec: spec, log: filepath.Join(t.TempDir(), "log")}
	t.Cleanup(func() { s.kill(syscall.SIGKILL) })
	s.Start(t)
	return s
}

// Addr is the host:port of the server. It never changes.
func (s *Server) Addr() string { return s.spec.Addr }

// Start starts the server once more, and returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if s.cmd != nil {
		t.Fatalf("process: %s runs already", s.spec.Path)
	}
	if err := s.start(); err != nil {
		t.Fatalf("process: %v\n%s", err, s.Logs())
	}
}

func (s *Server) start() error {
	log, err := os.OpenFile(s.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the server has its own
	cmd := exec.Command(s.spec.Path, s.spec.Args...)
	cmd.Env = append(os.Environ(), s.spec.Env...)
	cmd.Dir = s.spec.Data
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = EndWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = cmd.Wait()
	}()
	if err := s.ready(); err != nil {
		s.kill(syscall.SIGKILL)
		return err
	}
	return nil
}

// ready waits until the server answers.
func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := s.spec.Ready(ctx, s.spec.Addr)
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s has ended before it was ready: %v", s.spec.Path, s.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %w", s.spec.Path, patience, err)
		case <-retry.C:
		}
	}
}

// Stop ends the server as a crash does. What it has handed to the operating
// system is kept.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.kill(s.spec.Halt); err != nil {
		t.Fatalf("process: %v", err)
	}
}

// Kill is kill -9.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.kill(syscall.SIGKILL); err != nil {
		t.Fatalf("process: %v", err)
	}
}

// kill sends a signal that ends the server, and waits until it has ended, with
// all of its children.
func (s *Server) kill(signal syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	all := family(s.cmd.Process.Pid)
	if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = signalAll(all, thaw) // a frozen process handles only SIGKILL
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-s.ended:
		s.cmd = nil
	case <-limit.C:
		return fmt.Errorf("%s runs on %v after %v", s.spec.Path, patience, signal)
	}
	if len(all) < 2 {
		return nil
	}
	children := all[1:]
	if err := signalAll(children, (*os.Process).Kill); err != nil {
		return err
	}
	return until(children, "gone", gone)
}

// Empty deletes what a stopped server has stored.
func (s *Server) Empty(t testing.TB) {
	t.Helper()
	if s.cmd != nil {
		t.Fatalf("process: %s runs: stop it before its data is deleted", s.spec.Path)
	}
	entries, err := os.ReadDir(s.spec.Data)
	if err != nil {
		t.Fatalf("process: %v", err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(s.spec.Data, e.Name())); err != nil {
			t.Fatalf("process: %v", err)
		}
	}
}

// Pause freezes the server: its connections stay, and nothing answers.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		t.Fatalf("process: %s does not run", s.spec.Path)
	}
	root := family(s.cmd.Process.Pid)
	if len(root) == 0 {
		t.Fatalf("process: %s has ended", s.spec.Path)
	}
	err := errors.Join(signalAll(root[:1], freeze), until(root[:1], "frozen", frozen))
	if err == nil { // and now has no new children
		all := family(s.cmd.Process.Pid)
		err = errors.Join(signalAll(all, freeze), until(all, "frozen", frozen))
	}
	if err != nil {
		t.Fatalf("process: %s: %v", s.spec.Path, err)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		t.Fatalf("process: %s does not run", s.spec.Path)
	}
	if err := signalAll(family(s.cmd.Process.Pid), thaw); err != nil {
		t.Fatalf("process: %s: %v", s.spec.Path, err)
	}
}

// Logs returns all that the server has printed, in this run and earlier ones.
func (s *Server) Logs() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Exec runs a program of this machine with the environment of the server, and
// returns what it printed. A program that fails ends the test.
func (s *Server) Exec(t testing.TB, args ...string) string {
	t.Helper()
	path, err := Find(args[0])
	if err != nil {
		t.Fatalf("process: %v", err)
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Env = append(os.Environ(), s.spec.Env...)
	cmd.SysProcAttr = EndWithParent()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("process: %v: %v\n%s", args, err, out)
	}
	return string(out)
}
