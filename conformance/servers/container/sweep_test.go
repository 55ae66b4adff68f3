package container

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// holder is the variable that makes TestHold act as the run that is killed.
const holder = "CLUSTERCHANNEL_TEST_HOLD"

// TestHold is no test, but the run that TestSweep kills.
func TestHold(t *testing.T) {
	if os.Getenv(holder) == "" {
		return
	}
	n := NewNetwork(t, false)
	redis(t, func(spec *Spec) { spec.Networks = map[*Network][]string{n: nil} })
	_, _ = os.Stdout.WriteString("\nowner " + self().String() + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// hold starts a run that has a container and a network, and returns the label of
// both.
func hold(t *testing.T) (run *exec.Cmd, owner string) {
	t.Helper()
	run = exec.Command(os.Args[0], "-test.run=^TestHold$", "-test.v")
	run.Env = append(os.Environ(), holder+"=1")
	run.SysProcAttr = process.EndWithParent()
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
	var printed strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if owner, ok := strings.CutPrefix(lines.Text(), "owner "); ok {
			return run, owner
		}
		printed.WriteString(lines.Text() + "\n")
	}
	t.Fatalf("the run has ended:\n%s", printed.String())
	return nil, ""
}

// count returns how many containers and networks bear a label.
func count(t *testing.T, e *engine, owner string) (n int) {
	t.Helper()
	all, err := e.owned(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, some := range []map[string]string{all.containers, all.networks} {
		for _, label := range some {
			if label == owner {
				n++
			}
		}
	}
	return n
}

func TestSweep(t *testing.T) {
	needsEngine(t)
	e, err := connected()
	if err != nil {
		t.Fatal(err)
	}
	mine := redis(t, nil)
	killed, dead := hold(t)
	_, alive := hold(t)
	sweep := func(ctx context.Context) {
		if err := e.sweep(ctx); err != nil {
			t.Logf("something of others stays: %v", err)
		}
	}
	sweep(t.Context())
	if n := count(t, e, dead); n != 2 {
		t.Fatalf("a run that is alive has %d things after a sweep, want 2", n)
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is dead", func() error {
		_, err := ask(t.Context(), mine.Addr(), "PING")
		return err
	})
	_ = killed.Wait()
	sweep(t.Context())
	if n := count(t, e, dead); n != 0 {
		t.Errorf("%d things are left of a run that was killed", n)
	}
	if n := count(t, e, alive); n != 2 {
		t.Errorf("a run that is alive has %d things left, want 2", n)
	}
	answer(t, mine, "PING", "+PONG")

	// Once that run has died, a sweep removes what it had.
	t.Cleanup(func() { sweep(context.Background()) })
}

func TestOwner(t *testing.T) {
	me := self()
	if got, err := parseOwner(me.String()); err != nil || got != me {
		t.Errorf("%q is read as %v, %v", me, got, err)
	}
	ended := exec.Command(os.Args[0], "-test.run=^$")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	gone, reused, foreign := me, me, me
	gone.pid = int32(ended.Process.Pid)
	reused.started -= 60_000
	foreign.pid, foreign.host = gone.pid, "elsewhere"
	for _, c := range []struct {
		name string
		o    owner
		dead bool
	}{
		{"this process", me, false},
		{"a process that has ended", gone, true},
		{"an earlier process with this id", reused, true},
		{"a process of another machine", foreign, false},
	} {
		if c.o.dead() != c.dead {
			t.Errorf("%s counts as dead: %v, want %v", c.name, !c.dead, c.dead)
		}
	}
	for _, label := range []string{"", "x", "1 2", "a b c"} {
		if o, err := parseOwner(label); err == nil {
			t.Errorf("%q is read as %v", label, o)
		}
	}
}
