package container

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// redisImage is the image that the tests of this package run.
func redisImage(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("../kinds.go")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`Image: "(redis:[^"]+)"`).FindSubmatch(source)
	if m == nil {
		t.Fatal("package servers names no image of redis")
	}
	return string(m[1])
}

// needsEngine skips a test if no container can be started.
func needsEngine(t *testing.T) {
	t.Helper()
	err := Obtain(redisImage(t))
	if err == nil {
		return
	}
	if os.Getenv("CLUSTERCHANNEL_SERVERS") == "required" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// ask sends one command, and returns the first line of the answer.
func ask(ctx context.Context, addr, command string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // it was read
	if err := conn.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func pong(ctx context.Context, addr string) error {
	line, err := ask(ctx, addr, "PING")
	if err == nil && line != "+PONG" {
		err = fmt.Errorf("PING is answered by %q", line)
	}
	return err
}

// redis is a Redis that stores its data.
func redis(t *testing.T, change func(*Spec)) *Server {
	t.Helper()
	needsEngine(t)
	spec := Spec{
		Image: redisImage(t), Port: 6379, Ready: pong,
		Cmd: []string{"redis-server", "--protected-mode", "no", "--appendonly", "yes"},
	}
	if change != nil {
		change(&spec)
	}
	return Start(t, spec)
}

func answer(t *testing.T, s *Server, command, want string) {
	t.Helper()
	if got, err := ask(t.Context(), s.Addr(), command); err != nil || got != want {
		t.Errorf("%s is answered by %q, %v, want %q", command, got, err, want)
	}
}

func silent(t *testing.T, addr string) {
	t.Helper()
	if got, err := ask(t.Context(), addr, "PING"); err == nil {
		t.Errorf("PING is answered by %q", got)
	}
}

func TestDataOutlivesStopAndKill(t *testing.T) {
	s := redis(t, nil)
	answer(t, s, "SET a 1", "+OK")
	for _, end := range []func(testing.TB){s.Stop, s.Kill} {
		addr := s.Addr()
		end(t)
		silent(t, addr)
		s.Start(t)
		answer(t, s, "EXISTS a", ":1")
	}
}

func TestEmptyDeletesData(t *testing.T) {
	s := redis(t, nil)
	answer(t, s, "SET a 1", "+OK")
	s.Stop(t)
	s.Empty(t)
	s.Start(t)
	answer(t, s, "EXISTS a", ":0")
	if n := strings.Count(s.Logs(), "Ready to accept connections"); n != 2 {
		t.Errorf("the logs tell of %d starts, want 2:\n%s", n, s.Logs())
	}
}

func TestPause(t *testing.T) {
	s := redis(t, nil)
	s.Pause(t)
	silent(t, s.Addr())
	s.Resume(t)
	answer(t, s, "PING", "+PONG")
	s.Pause(t)
	s.Stop(t) // a paused container too
	s.Start(t)
	answer(t, s, "PING", "+PONG")
	s.Pause(t) // and is removed
}

func TestFilesAndEnvironment(t *testing.T) {
	s := redis(t, func(spec *Spec) {
		spec.Files = map[string][]byte{"/etc/of/a/test/redis.conf": []byte("requirepass of-the-file\n")}
		spec.Cmd = []string{"redis-server", "/etc/of/a/test/redis.conf", "--protected-mode", "no"}
		spec.Env = map[string]string{"REDISCLI_AUTH": "of-the-file"}
		spec.Ready = func(ctx context.Context, addr string) error { _, err := ask(ctx, addr, "PING"); return err }
	})
	answer(t, s, "GET a", "-NOAUTH Authentication required.")
	if out := s.Exec(t, "redis-cli", "SET", "a", "1"); out != "OK\n" {
		t.Errorf("redis-cli prints %q", out)
	}
	s.Stop(t)
	s.Empty(t)
	s.Start(t)
	answer(t, s, "GET a", "-NOAUTH Authentication required.")
}

func TestExecFails(t *testing.T) {
	s := redis(t, nil)
	if out, err := s.exec([]string{"redis-cli", "-p", "1", "PING"}); err == nil {
		t.Errorf("a program that fails is no failure: %q", out)
	}
}

func TestServerThatEndsIsNotReady(t *testing.T) {
	needsEngine(t)
	e, err := connected()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{engine: e, spec: Spec{Image: redisImage(t), Cmd: []string{"redis-server", "--nonsense"}, Port: 6379, Ready: pong}}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Error(err)
		}
	})
	if err := s.create(); err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err == nil || !strings.Contains(err.Error(), "it has ended, with 1, before it was ready") {
		t.Errorf("the error is %v", err)
	}
	if !strings.Contains(s.Logs(), "nonsense") {
		t.Errorf("the logs are %q", s.Logs())
	}
}
