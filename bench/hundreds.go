package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// scale is what a mesh of hundreds of nodes does.
type scale struct {
	Formed, Join, Leave, Crash cell
	Idle                       usage // per second
	Burst                      cell
}

const (
	scalePatience = 10 * time.Minute // for any change to be seen by all
	beat          = 500 * time.Millisecond
)

// scaled measures a mesh of hundreds, which is formed as its nodes are opened one
// after the other.
func scaled(ctx context.Context, t task, c contender) (s scale, err error) {
	start := time.Now()
	m, err := c.mesh(t.Place, t.Nodes)
	if err != nil {
		return s, err
	}
	defer m.close()
	if s.Formed, err = seenByAll(ctx, m, t.Nodes, start); err != nil {
		return s, fmt.Errorf("forming: %w", err)
	}
	if err := rest(ctx, t.Plan.Settle); err != nil {
		return s, err
	}
	if s.Idle, err = rate(ctx, t, m, t.Plan.Idle); err != nil {
		return s, err
	}
	start = time.Now()
	if _, err := m.join(); err != nil {
		return s, fmt.Errorf("a join: %w", err)
	}
	if s.Join, err = seenByAll(ctx, m, t.Nodes+1, start); err != nil {
		return s, fmt.Errorf("a join: %w", err)
	}
	if err := rest(ctx, t.Plan.Joining); err != nil {
		return s, err
	}
	end, closed := m.leave(), make(chan error, 1)
	start = time.Now()
	go func() { closed <- end() }()
	s.Leave, err = seenByAll(ctx, m, t.Nodes, start)
	if err = errors.Join(err, <-closed); err != nil {
		return s, fmt.Errorf("a leave: %w", err)
	}
	if s.Crash, err = crash(ctx, t, m); err != nil {
		return s, fmt.Errorf("a crash: %w", err)
	}
	s.Burst = burst(m, 0, t.Plan)
	return s, tell(m.(*seats))
}

// tell prints the sum of what the nodes counted, for who looks for a cause.
func tell(m *seats) error {
	sums := map[string]float64{}
	for _, n := range m.nodes {
		families, err := n.registry.Gather()
		if err != nil {
			return err
		}
		for _, f := range families {
			for _, one := range f.GetMetric() {
				if v := one.GetCounter().GetValue(); v > 0 {
					sums[f.GetName()] += v
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(os.Stderr, "bench: %s %.0f\n", name, sums[name])
	}
	return nil
}

// crash makes a process join, and kills it when the others have heard it often
// enough to know its interval.
func crash(ctx context.Context, t task, m mesh) (cell, error) {
	t.Do, t.Role, t.Where = doNode, ourRole, m.where()
	cmd, err := t.command(ctx)
	if err != nil {
		return cell{}, err
	}
	if err := cmd.Start(); err != nil {
		return cell{}, err
	}
	_, err = seenByAll(ctx, m, t.Nodes+1, time.Now())
	if err == nil {
		err = rest(ctx, max(t.Plan.Joining, 4*heartbeat.Interval(beat, t.Nodes)))
	}
	start := time.Now()
	end(cmd)
	if err != nil {
		return cell{}, err
	}
	return seenByAll(ctx, m, t.Nodes, start)
}

// seenByAll waits until all nodes count want members. It asks each until it does,
// since to ask hundreds costs them more than to know.
func seenByAll(ctx context.Context, m mesh, want int, since time.Time) (cell, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	all := m.(*seats).nodes
	for agreed := 0; ; {
		for agreed < len(all) && len(all[agreed].Members()) == want {
			agreed++
		}
		if agreed == len(all) {
			after := took(time.Since(since))
			if other(m.members(), want) == want {
				return after, nil
			}
			agreed = 0
		}
		if time.Since(since) > scalePatience {
			return cell{}, fmt.Errorf("after %v a node counts %d members, not %d", scalePatience, other(m.members(), want), want)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return cell{}, ctx.Err()
		}
	}
}

// other returns a count that is not want, if there is one.
func other(counts []int, want int) int {
	for _, c := range counts {
		if c != want {
			return c
		}
	}
	return want
}

func (o options) scalePlan(nodes int) plan {
	interval := heartbeat.Interval(beat, nodes)
	p := plan{Settle: max(4*interval, 30*time.Second), Idle: max(4*interval, time.Minute), Joining: 10 * time.Second, Burst: 1000, Patience: o.patience}
	if o.quick {
		p.Settle, p.Idle = max(2*interval, 10*time.Second), max(2*interval, 20*time.Second)
	}
	return p
}

// hundreds prints what meshes of each size do.
func hundreds(ctx context.Context, o options, p place, sizes []int, where string) error {
	table := grid{{
		"nodes", "formed", "idle: messages/s", "server, % of one core", "all nodes, % of one core",
		"a join is seen by all", "a leave", "a crash", "within", "burst of 1,000 reaches all",
	}}
	for _, n := range sizes {
		var s scale
		if err := (task{Do: doScale, Role: lightRole, Place: p, Nodes: n, Plan: o.scalePlan(n)}).run(ctx, &s); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			table = append(table, []string{fmt.Sprint(n), "failed"})
			continue
		}
		server, within := "", ""
		if p.Server.Addr != "" {
			server = fmt.Sprintf("%.1f", s.Idle.Server.Seconds()*100)
		}
		if p.Backend == "redis" || p.Backend == "nats" {
			within = (6 * heartbeat.Interval(beat, n)).Round(time.Second).String()
		}
		table = append(table, []string{
			fmt.Sprint(n), s.Formed.Text, fmt.Sprintf("%.0f", s.Idle.messages()), server, fmt.Sprintf("%.1f", s.Idle.Own.Seconds()*100),
			s.Join.Text, s.Leave.Text, s.Crash.Text, within, s.Burst.Text,
		})
	}
	return o.report(table, "hundreds", where)
}
