package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

// The tasks of a process that is part of a run.
const (
	doDelivery   = "delivery"
	doMembership = "membership"
	doGrowth     = "growth"
	doRepair     = "repair"
	doScale      = "scale"
	doNode       = "node" // joins, to be killed
)

// taskArg is the first argument of such a process; the second is the task.
const taskArg = "task"

// task is the work of one process, so that no contender shares a process with
// another's garbage and goroutines.
type task struct {
	Do     string
	Role   role
	Place  place
	Nodes  int
	Plan   plan
	Where  string // where a node joins
	Repair repair

	program string // that does it; empty: this one
}

// command is the process that does t, and ends with this one.
func (t task) command(ctx context.Context) (*exec.Cmd, error) {
	path := t.program
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	arg, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, taskArg, string(arg))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = endWithParent()
	return cmd, nil
}

// run makes a process do t, and reads its result.
func (t task) run(ctx context.Context, found any) error {
	fmt.Fprintf(os.Stderr, "bench: %s, %d nodes: %s of %s\n", t.Place.Backend, t.Nodes, t.Do, cmp.Or(t.program, string(t.Role)))
	cmd, err := t.command(ctx)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err = cmd.Run(); err == nil {
		err = json.Unmarshal(out.Bytes(), found)
	}
	if err != nil {
		return fmt.Errorf("%s of %s, %d nodes: %w", t.Do, t.Role, t.Nodes, err)
	}
	return nil
}

// runTask does a task, and prints its result.
func runTask(ctx context.Context, arg string) error {
	var t task
	if err := json.Unmarshal([]byte(arg), &t); err != nil {
		return err
	}
	c := suites[t.Place.Backend].contenders[t.Role]
	if t.Do == doNode {
		if err := c.node(t.Place, t.Where); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	found, err := t.do(ctx, c)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func (t task) do(ctx context.Context, c contender) (any, error) {
	switch t.Do {
	case doRepair:
		return t.Repair.measure(ctx, t)
	case doScale:
		return scaled(ctx, t, c)
	}
	if t.Do == doDelivery {
		l, err := c.open(t.Place, t.Nodes)
		if err != nil {
			return nil, err
		}
		defer l.close()
		return delivery(l, t.Plan), nil
	}
	m, err := c.gather(t.Place, t.Nodes)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if t.Do == doGrowth {
		return cost(ctx, t, m)
	}
	return membership(ctx, t, c, m)
}
