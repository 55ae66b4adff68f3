package conformance

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// budget is one of the contract's time limits.
type budget int

const (
	converge budget = iota
	leave
	detect
	restart
	joiner
	numBudgets
)

func (b budget) String() string {
	return [...]string{"converge", "leave", "detect", "restart", "joiner"}[b]
}

// ceilings are the longest times that the contract allows.
var ceilings = [numBudgets]time.Duration{2 * time.Second, time.Second, 5 * time.Second, 3 * time.Second, 2 * time.Second}

func (t *Timing) field(b budget) *time.Duration {
	return [...]*time.Duration{&t.Converge, &t.Leave, &t.Detect, &t.Restart, &t.Joiner}[b]
}

// complete fills in the defaults, and refuses what is above a ceiling.
func (t Timing) complete() (Timing, error) {
	for b := range numBudgets {
		switch d := t.field(b); {
		case *d < 0 || *d > ceilings[b]:
			return t, fmt.Errorf("Harness.Timing: the budget %v is %v; the contract allows up to %v", b, *d, ceilings[b])
		case *d == 0:
			*d = ceilings[b]
		}
	}
	if t.Scale < 0 {
		return t, fmt.Errorf("Harness.Timing.Scale is %v; it must not be negative", t.Scale)
	}
	if t.Scale == 0 {
		t.Scale = 1
	}
	period := func(d, fallback time.Duration) time.Duration { return t.stretch(orElse(d, fallback)) }
	t.Channel = backend.Timing{
		Heartbeat: period(t.Channel.Heartbeat, 100*time.Millisecond),
		Grace:     period(t.Channel.Grace, 2*time.Second),
		Settle:    period(t.Channel.Settle, 5*time.Second),
		Sync:      period(t.Channel.Sync, time.Second),
	}
	return t, nil
}

// stretch makes d longer for a slow machine and the race detector.
func (t Timing) stretch(d time.Duration) time.Duration {
	return time.Duration(float64(d) * t.Scale * raceScale)
}

func orElse(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// budgets are the limits of a run and what was measured against them.
type budgets struct {
	limits [numBudgets]time.Duration
	scale  float64

	mu    sync.Mutex
	worst [numBudgets]time.Duration
	more  [numBudgets]time.Duration // by which the limit stretched at most
	count [numBudgets]int
}

// newBudgets expects a complete Timing.
func newBudgets(t Timing) *budgets {
	s := &budgets{scale: t.Scale * raceScale}
	for b := range numBudgets {
		s.limits[b] = t.stretch(*t.field(b))
	}
	return s
}

func (s *budgets) record(b budget, took, stretched time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worst[b] = max(s.worst[b], took)
	s.more[b] = max(s.more[b], stretched)
	s.count[b]++
}

// list returns the worst time measured for each budget.
func (s *budgets) list() []Budget {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Budget, numBudgets)
	for i := range numBudgets {
		list[i] = Budget{Name: i.String(), Limit: s.limits[i], Worst: s.worst[i], Stretched: s.more[i], Times: s.count[i]}
	}
	return list
}

// table formats list.
func (s *budgets) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-10s %10s %10s %10s %7s   (scale %g)\n", "budget", "limit", "stretched", "worst", "times", s.scale)
	for _, l := range s.list() {
		fmt.Fprintf(&b, "%-10s %10v %10v %10v %7d\n", l.Name, l.Limit, l.Stretched.Round(time.Millisecond), l.Worst.Round(time.Millisecond), l.Times)
	}
	return b.String()
}
