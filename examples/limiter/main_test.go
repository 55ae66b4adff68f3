package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// period is so long that a test is within one.
const period = 1000 * time.Hour

// request returns what a node answers.
func request(method, url string) (string, error) {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// answers waits until a request is answered so.
func answers(t *testing.T, method, url, want string) {
	t.Helper()
	got, err := "", error(nil)
	for limit := time.Now().Add(patience); time.Now().Before(limit); <-time.After(100 * time.Millisecond) {
		if got, err = request(method, url); err == nil {
			break
		}
	}
	if err != nil || got != want {
		t.Errorf("%s %s answers %q, %v; want %q", method, url, got, err, want)
	}
}

// settle gives what was said the time to reach all.
func settle() { <-time.After(500 * time.Millisecond) }

// Three nodes in one process. One is stopped, and started again.
func TestMemory(t *testing.T) {
	bus := memory.NewBus()
	defer bus.Remove()
	var all sync.WaitGroup
	defer all.Wait()
	start := func(name string) (url string, stop context.CancelFunc) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		all.Go(func() {
			if err := run(ctx, "memory://?cluster=limits&name="+name+"&bus="+bus.Name(), period, listener); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
		return "http://" + listener.Addr().String(), stop
	}
	a, stopA := start("a")
	b, stopB := start("b")
	c, stopC := start("c")
	defer stopA()
	defer stopC()
	answers(t, "PUT", a+"/alice/4", "")
	settle()
	answers(t, "GET", a+"/alice", "1 of 4\n")
	settle()
	answers(t, "GET", b+"/alice", "2 of 4\n")
	settle()
	answers(t, "GET", c+"/alice", "3 of 4\n")
	answers(t, "GET", c+"/bob", "1 of 10\n")
	stopB()
	b, stopB = start("b")
	defer stopB()
	answers(t, "GET", b+"/alice", "4 of 4\n")
	settle()
	answers(t, "GET", c+"/alice", "all 4 are used\n")
	answers(t, "PUT", c+"/alice/many", "strconv.Atoi: parsing \"many\": invalid syntax\n")
}

// TestRedis runs the commands of the README in order, on a real server, and holds it to
// what they print. Then one of the nodes is killed, and started again.
func TestRedis(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	starts := regexp.MustCompile(`(?m)^\./limiter '(\S+)' (\S+) &$`).FindAllStringSubmatch(string(readme), -1)
	curls := regexp.MustCompile(`(?m)^\$ curl -s (?:-X (PUT) )?(\S+)\n([^$`+"`"+`\n]*\n)?`).FindAllStringSubmatch(string(readme), -1)
	if len(starts) != 3 || len(curls) != 5 {
		t.Fatalf("the README starts %d nodes, and has %d requests", len(starts), len(curls))
	}
	server := servers.Start(t, servers.Redis(), servers.Options{})
	program := filepath.Join(t.TempDir(), "limiter")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	here := []string{"127.0.0.1:6379", server.Addr()}
	for _, s := range starts {
		here = append(here, s[2], free(t))
	}
	replaced := strings.NewReplacer(here...)
	start := func(i int) (kill func()) {
		cmd := exec.Command(program, "-period", fmt.Sprint(period), replaced.Replace(starts[i][1]), replaced.Replace(starts[i][2]))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		kill = func() {
			once.Do(func() {
				_ = cmd.Process.Kill() // it may have ended
				_ = cmd.Wait()         // it was killed
			})
		}
		t.Cleanup(kill)
		return kill
	}
	start(0)
	start(1)
	kill := start(2)
	for _, c := range curls {
		method := c[1]
		if method == "" {
			method = "GET"
		}
		answers(t, method, "http://"+replaced.Replace(c[2]), c[3])
		settle()
	}
	kill()
	start(2)
	third := "http://" + replaced.Replace(starts[2][2])
	answers(t, "GET", third+"/alice", "all 3 are used\n")
	answers(t, "PUT", third+"/alice/5", "")
	settle()
	answers(t, "GET", "http://"+replaced.Replace(starts[0][2])+"/alice", "4 of 5\n")
}

// free returns an address at which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}
