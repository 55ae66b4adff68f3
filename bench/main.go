// Command bench measures the backend memberlist beside Alertmanager's own
// cluster package and beside memberlist's bare sends, in one run on this
// machine's loopback, and prints a table with ratios. It judges nothing: the
// machine is shared and the numbers vary.
//
//	go run ./bench -nodes 3,5,10 -markdown
//
// All nodes of a mesh are in one process, each kind of mesh in a process of its
// own. Bytes are those of the whole loopback interface: nothing else should use
// it, for example in a network namespace of its own.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/subprocess"
)

// plan says how much to measure.
type plan struct {
	Messages int           // one by one
	Pace     time.Duration // between two
	Burst    int
	Patience time.Duration // for a burst to arrive
	Settle   time.Duration // before idling and before a kill
	Idle     time.Duration
	Kills    int
}

// The first argument of a process of this program that is part of a run.
const (
	modeMesh = "mesh" // measures one kind of mesh: kind, nodes, plan
	modeNode = "node" // joins, to be killed: kind, address
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 3 && args[0] == modeNode:
		return runNode(ctx, kind(args[1]), args[2])
	case len(args) == 4 && args[0] == modeMesh:
		return runMesh(ctx, kind(args[1]), args[2], args[3])
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	nodes := flags.String("nodes", "3,5", "cluster sizes, by comma")
	quick := flags.Bool("quick", false, "measure less, for a first look")
	markdown := flags.Bool("markdown", false, "print a Markdown table")
	patience := flags.Duration("patience", 30*time.Second, "how long to wait for a burst to arrive")
	if err := flags.Parse(args); err != nil {
		return err
	}
	p := plan{Messages: 200, Pace: 50 * time.Millisecond, Burst: 20000, Patience: *patience, Settle: 3 * time.Second, Idle: 20 * time.Second, Kills: 3}
	if *quick {
		p.Messages, p.Idle, p.Kills = 60, 10*time.Second, 1
	}
	t := newTable(os.Stdout, *markdown)
	for _, s := range strings.Split(*nodes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 2 || n > 50 {
			return fmt.Errorf("-nodes: %q is not within 2 to 50", s)
		}
		if err := compare(ctx, t, n, p); err != nil {
			return err
		}
	}
	return nil
}

// compare measures meshes of n nodes, one kind after the other.
func compare(ctx context.Context, t *table, n int, p plan) error {
	cells := map[kind]map[string]cell{}
	for _, k := range []kind{alertmanagerKind, channelKind, bareKind} {
		p := p
		if k != alertmanagerKind { // whose gossip drops what a faster pace leaves in its queue
			p.Messages, p.Pace = 10*p.Messages, p.Pace/10
		}
		arg, err := json.Marshal(p)
		if err != nil {
			return err
		}
		cmd, err := self(ctx, modeMesh, string(k), strconv.Itoa(n), string(arg))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s, %d nodes: %w", k, n, err)
		}
		var c map[string]cell
		if err := json.Unmarshal(out.Bytes(), &c); err != nil {
			return fmt.Errorf("%s, %d nodes: %w", k, n, err)
		}
		cells[k] = c
	}
	return t.add(n, cells)
}

// runMesh measures one kind of mesh and prints what it found.
func runMesh(ctx context.Context, k kind, nodes, planned string) error {
	n, err := strconv.Atoi(nodes)
	if err != nil {
		return err
	}
	var p plan
	if err := json.Unmarshal([]byte(planned), &p); err != nil {
		return err
	}
	var cells map[string]cell
	if k == bareKind {
		cells, err = measureBare(n, p)
	} else {
		cells, err = measure(ctx, k, n, p)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(cells)
}

// self is a process of this program, which ends with this one.
func self(ctx context.Context, args ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = subprocess.EndWithParent()
	return cmd, nil
}
