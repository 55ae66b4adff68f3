package main

import (
	"context"
	"maps"
	"time"
)

// comparison is how the contenders of a backend are measured.
type comparison struct {
	quick    bool
	rounds   int // of deliveries, whose median counts: ours and the raw client's in turn
	patience time.Duration
}

// They do something once a minute at rest, after settling for half a minute.
const (
	theirSettle = 25 * time.Second
	theirPeriod = time.Minute
)

// plan says how much of a contender is measured.
func (c comparison) plan(r role) plan {
	p := plan{Messages: 200, Pace: 50 * time.Millisecond, Large: 21, Burst: 20000, Patience: c.patience, Settle: 3 * time.Second, Idle: 20 * time.Second, Leaves: 3, Kills: 3}
	if c.quick {
		p.Messages, p.Idle, p.Leaves, p.Kills = 60, 10*time.Second, 1, 1
	}
	if r == theirRole { // a faster pace overruns their queues
		p.Settle, p.Idle, p.Leaves, p.Kills = theirSettle, theirPeriod, 1, 1
	} else {
		p.Messages, p.Pace = 10*p.Messages, p.Pace/10
	}
	return p
}

// measure measures all contenders with n nodes.
func (c comparison) measure(ctx context.Context, p place, n int) (map[role]cells, error) {
	s := suites[p.Backend]
	found := map[role]cells{}
	rounds := map[role][]cells{}
	for round := range c.rounds {
		for _, r := range []role{theirRole, ourRole, rawRole} {
			if _, ok := s.contenders[r]; !ok || r == theirRole && round > 0 {
				continue
			}
			var d cells
			if err := (task{Do: doDelivery, Role: r, Place: p, Nodes: n, Plan: c.plan(r)}).run(ctx, &d); err != nil {
				return nil, err
			}
			rounds[r] = append(rounds[r], d)
		}
	}
	for r, all := range rounds {
		found[r] = median(all)
	}
	for _, r := range []role{theirRole, ourRole} {
		if _, ok := s.contenders[r]; !ok {
			continue
		}
		var d cells
		if err := (task{Do: doMembership, Role: r, Place: p, Nodes: n, Plan: c.plan(r)}).run(ctx, &d); err != nil {
			return nil, err
		}
		maps.Copy(found[r], d)
	}
	return found, nil
}
