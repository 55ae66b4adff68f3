package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// job is what the nodes are to do: each run of it adds a line to a file.
type job struct {
	t    *testing.T
	file string
}

func newJob(t *testing.T) job { return job{t, filepath.Join(t.TempDir(), "done")} }

func (j job) command() []string {
	return []string{"sh", "-c", "echo $AT >> " + j.file + "; echo sent to 12 people"}
}

// done returns how often the job was done at each moment, and the moments in order.
func (j job) done() (times map[string]int, moments []time.Time) {
	j.t.Helper()
	text, err := os.ReadFile(j.file)
	if err != nil && !os.IsNotExist(err) {
		j.t.Fatal(err)
	}
	times = map[string]int{}
	for at := range strings.Lines(string(text)) {
		at = strings.TrimSpace(at)
		if times[at]++; times[at] > 1 {
			continue
		}
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			j.t.Fatal(err)
		}
		moments = append(moments, moment)
	}
	slices.SortFunc(moments, time.Time.Compare)
	return times, moments
}

// await waits until the job was done at so many moments.
func (j job) await(moments int) {
	j.t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); <-time.After(50 * time.Millisecond) {
		if _, all := j.done(); len(all) >= moments {
			return
		}
	}
	_, all := j.done()
	j.t.Fatalf("it was done at %d moments, want %d", len(all), moments)
}

// judge wants the job to have been done at each moment, and once but at as many moments
// as something has happened.
func (j job) judge(faults int) {
	j.t.Helper()
	times, moments := j.done()
	for i, at := range moments[1:] {
		if gap := at.Sub(moments[i]); gap != time.Second {
			j.t.Errorf("nothing was done for %v before %v", gap, at)
		}
	}
	more := 0
	for _, n := range times {
		more += n - 1
	}
	j.t.Logf("done at %d moments, and %d times more", len(moments), more)
	if more > faults {
		j.t.Errorf("done %d times too often, want at most %d: %v", more, faults, times)
	}
}

// Three nodes in one process. One is stopped, and started again.
func TestMemory(t *testing.T) {
	bus := memory.NewBus()
	defer bus.Remove()
	j := newJob(t)
	var all sync.WaitGroup
	defer all.Wait()
	start := func(name string) (stop context.CancelFunc) {
		ctx, stop := context.WithCancel(t.Context())
		all.Go(func() {
			if err := run(ctx, "memory://?cluster=jobs&name="+name+"&bus="+bus.Name(), time.Second, j.command(), io.Discard); err != nil {
				t.Error(err)
			}
		})
		return stop
	}
	stops := map[string]context.CancelFunc{}
	for _, name := range []string{"node-1", "node-2", "node-3"} {
		stops[name] = start(name)
	}
	j.await(4)
	stops["node-1"]()
	j.await(8)
	stops["node-1"] = start("node-1")
	j.await(12)
	for _, stop := range stops {
		stop()
	}
	all.Wait()
	j.judge(2)
}

// node is one process.
type node struct {
	cmd   *exec.Cmd
	mu    sync.Mutex
	lines []string // of its output
	ended chan struct{}
}

func (n *node) output() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lines)
}

// TestRedis runs the commands of the README, with a shorter period, on a real server.
// One node is killed and started again, one stands still for a while, and the server
// hangs for less than grace.
func TestRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes most of a minute")
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^\./cron '(\S+)' 1m (.*)$`).FindAllStringSubmatch(string(readme), -1)
	shown := regexp.MustCompile("(?ms)^```text\n(.*?)^```$").FindStringSubmatch(string(readme))
	if len(commands) != 3 || shown == nil {
		t.Fatalf("the README has %d commands", len(commands))
	}
	server := servers.Start(t, servers.Redis(), servers.Options{})
	program := filepath.Join(t.TempDir(), "cron")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	j := newJob(t)
	start := func(i int) *node {
		t.Helper()
		url := strings.ReplaceAll(commands[i][1], "127.0.0.1:6379", server.Addr())
		n := &node{cmd: exec.Command(program, append([]string{url, "1s"}, j.command()...)...), ended: make(chan struct{})}
		n.cmd.Stderr = os.Stderr
		out, err := n.cmd.StdoutPipe()
		if err == nil {
			err = n.cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(n.ended)
			for s := bufio.NewScanner(out); s.Scan(); {
				n.mu.Lock()
				n.lines = append(n.lines, s.Text())
				n.mu.Unlock()
			}
			_ = n.cmd.Wait() // it is killed
		}()
		t.Cleanup(func() {
			_ = n.cmd.Process.Kill() // it may have ended
			<-n.ended
		})
		return n
	}
	nodes := []*node{start(0), start(1), start(2)}
	j.await(6)
	signal := func(i int, s os.Signal) {
		if err := nodes[i].cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
	}
	wait := func(moments int) {
		_, all := j.done()
		j.await(len(all) + moments)
	}
	signal(0, os.Kill)
	wait(8)
	nodes[0] = start(0)
	wait(4)
	signal(1, syscall.SIGSTOP)
	wait(8)
	signal(1, syscall.SIGCONT)
	wait(4)
	server.Pause(t)
	<-time.After(3 * time.Second)
	server.Resume(t)
	wait(10)
	for i := range nodes {
		signal(i, os.Interrupt)
		<-nodes[i].ended
	}
	j.judge(3)
	for i, n := range nodes {
		if lines := n.output(); !slices.ContainsFunc(lines, func(line string) bool { return slices.Contains(patterns(shown[1]), pattern(line)) }) {
			t.Errorf("node %d prints none of what the README shows:\n%s", i+1, strings.Join(lines, "\n"))
		}
	}
	for _, line := range nodes[2].output() {
		if !slices.Contains(patterns(shown[1]), pattern(line)) {
			t.Errorf("a node prints %q", line)
		}
	}
}

// pattern is a line without what differs from run to run.
func pattern(line string) string {
	line = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(line, "TIME")
	return regexp.MustCompile(`node-\d`).ReplaceAllString(line, "NODE")
}

func patterns(text string) (all []string) {
	for line := range strings.Lines(text) {
		all = append(all, pattern(strings.TrimSpace(line)))
	}
	return all
}

// Bad input is an error that says what to do.
func TestBadURL(t *testing.T) {
	if err := run(t.Context(), "nowhere://", time.Second, nil, os.Stdout); err == nil || !strings.Contains(fmt.Sprint(err), "nowhere") {
		t.Errorf("a URL of no backend: %v", err)
	}
}
