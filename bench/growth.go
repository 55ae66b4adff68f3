package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// price is the cost of a mesh of one size.
type price struct {
	Nodes           int
	Idle            usage // per second
	Broadcast, Join usage // per broadcast or join, above the cost of idling
}

// cost measures the price of a mesh.
func cost(ctx context.Context, t task, m mesh) (p price, err error) {
	p.Nodes = t.Nodes
	if err := rest(ctx, t.Plan.Settle); err != nil {
		return p, err
	}
	if p.Idle, err = rate(ctx, t, m, t.Plan.Idle); err != nil {
		return p, err
	}
	if p.Broadcast, err = priceOfBroadcast(ctx, t, m, p.Idle); err != nil {
		return p, err
	}
	for range t.Plan.Joins {
		join, err := priceOfJoin(ctx, t, m)
		if err != nil {
			return p, err
		}
		p.Join = p.Join.plus(join.times(1 / float64(t.Plan.Joins)))
		if err := rest(ctx, t.Plan.Settle); err != nil {
			return p, err
		}
	}
	return p, nil
}

// rate is what a mesh at rest uses each second.
func rate(ctx context.Context, t task, m mesh, d time.Duration) (usage, error) {
	start := time.Now()
	u, err := used(ctx, t.Place, m, func() error { return rest(ctx, d) })
	return u.times(1 / time.Since(start).Seconds()), err
}

func priceOfBroadcast(ctx context.Context, t task, m mesh, idle usage) (usage, error) {
	pace := time.NewTicker(t.Plan.Pace)
	defer pace.Stop()
	start := time.Now()
	u, err := used(ctx, t.Place, m, func() error {
		for id := range uint64(t.Plan.Messages) {
			send(m, id, payload)
			<-pace.C
		}
		return nil
	})
	return u.since(idle.times(time.Since(start).Seconds())).times(1 / float64(t.Plan.Messages)), err
}

// priceOfJoin makes a node join and leave again. It does not count the cost at
// rest.
func priceOfJoin(ctx context.Context, t task, m mesh) (usage, error) {
	start := time.Now()
	u, err := used(ctx, t.Place, m, func() error {
		if _, err := m.join(); err != nil {
			return err
		}
		return rest(ctx, t.Plan.Joining)
	})
	if err != nil {
		return u, err
	}
	took := time.Since(start).Seconds()
	idle, err := rate(ctx, t, m, t.Plan.Idle)
	if err != nil {
		return u, err
	}
	if err := m.leave()(); err != nil {
		return u, err
	}
	return u.since(idle.times(took)), awaitMembers(m, t.Nodes)
}

// used measures what do uses.
func used(ctx context.Context, p place, m mesh, do func() error) (usage, error) {
	before, err := look(ctx, p, m)
	if err != nil {
		return usage{}, err
	}
	if err := do(); err != nil {
		return usage{}, err
	}
	after, err := look(ctx, p, m)
	return after.since(before), err
}

func (o options) growthPlan(r role) plan {
	if r == theirRole {
		return plan{Settle: theirSettle, Idle: theirPeriod, Messages: 500, Pace: theirPeriod / 500, Joins: 1, Joining: theirPeriod}
	}
	p := plan{Settle: 10 * time.Second, Idle: 30 * time.Second, Messages: 500, Pace: 20 * time.Millisecond, Joins: 2, Joining: 5 * time.Second}
	if o.quick {
		p.Settle, p.Idle, p.Messages, p.Joins = 4*time.Second, 10*time.Second, 200, 1
	}
	return p
}

// growth prints and draws the meshes' cost as they grow.
func growth(ctx context.Context, o options, p place, sizes []int, where string) error {
	table := grid{{
		"nodes", "of", "idle: messages/s", "bytes/s", "server, % of one core",
		"a broadcast: messages", "bytes", "a join: messages", "bytes",
	}}
	var drawn []series
	for _, r := range []role{ourRole, theirRole} {
		c, ok := suites[p.Backend].contenders[r]
		if !ok {
			continue
		}
		s := series{title: c.title}
		for _, n := range sizes {
			var found price
			if err := (task{Do: doGrowth, Role: r, Place: p, Nodes: n, Plan: o.growthPlan(r)}).run(ctx, &found); err != nil {
				return err
			}
			s.prices = append(s.prices, found)
			table = append(table, found.line(c.title))
		}
		drawn = append(drawn, s)
	}
	if o.write != "" {
		chart := growthFigure.chart(p.Backend+": what a cluster costs as it grows", drawn)
		if err := os.WriteFile(filepath.Join(o.write, "bench", p.Backend+".svg"), []byte(chart), 0o644); err != nil {
			return err
		}
	}
	return o.report(table, "growth", where)
}

func (p price) line(of string) []string {
	count := func(v float64) string {
		if v < 0.5 { // idling varies by more
			return "too few to tell"
		}
		return fmt.Sprintf("%.0f", v)
	}
	server := ""
	if p.Idle.Server > 0 {
		server = fmt.Sprintf("%.2f", p.Idle.Server.Seconds()*100)
	}
	return []string{
		fmt.Sprint(p.Nodes), of, fmt.Sprintf("%.1f", p.Idle.messages()), count(p.Idle.Bytes), server,
		count(p.Broadcast.messages()), count(p.Broadcast.Bytes), count(p.Join.messages()), count(p.Join.Bytes),
	}
}
