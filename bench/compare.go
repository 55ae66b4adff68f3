package main

import (
	"context"
	"maps"
	"time"
)

// comparison is how the contenders of a backend are measured.
type comparison struct {
	suite    suite
	large    bool // messages alone
	quick    bool
	rounds   int // of deliveries, whose median counts: ours and the raw client's in turn
	patience time.Duration
	former   string // the program of another commit
}

// They do something once a minute at rest, after settling for half a minute.
const (
	theirSettle = 25 * time.Second
	theirPeriod = time.Minute
)

// plan says how much of a contender is measured.
func (c comparison) plan(r role) plan {
	p := plan{Messages: 200, Pace: 50 * time.Millisecond, Large: 21, Burst: 20000, Patience: c.patience, Settle: 3 * time.Second, Idle: 20 * time.Second, Leaves: 3, Kills: 3}
	if c.large {
		p.Messages, p.Large, p.Burst = 1, 41, 0
		return p
	}
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
	s := c.suite
	found := map[role]cells{}
	rounds := map[role][]cells{}
	of := func(do string, r role) task {
		t := task{Do: do, Role: r, Place: p, Nodes: n, Plan: c.plan(r)}
		if r == formerRole {
			t.Role, t.program = ourRole, c.former
		}
		return t
	}
	for round := range c.rounds {
		for _, r := range []role{theirRole, formerRole, ourRole, rawRole, lightRole, bareRole} {
			if _, ok := s.contenders[r]; !ok || r == theirRole && round > 0 {
				continue
			}
			var d cells
			if err := of(doDelivery, r).run(ctx, &d); err != nil {
				return nil, err
			}
			rounds[r] = append(rounds[r], d)
		}
	}
	for r, all := range rounds {
		found[r] = median(all)
	}
	if c.former == "" {
		for row, of := range map[string]string{rowBareP50: rowP50, rowBareLarge: rowLarge} {
			found[ourRole][row], found[rawRole][row] = found[lightRole][of], found[bareRole][of]
		}
	}
	for _, r := range []role{theirRole, formerRole, ourRole} {
		if _, ok := s.contenders[r]; !ok || c.large {
			continue
		}
		var d cells
		if err := of(doMembership, r).run(ctx, &d); err != nil {
			return nil, err
		}
		maps.Copy(found[r], d)
	}
	return found, nil
}
