package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// met is what happened to one alert.
type met struct {
	Alert      string
	Due        time.Duration // the end of its group's wait, since the begin
	Deliveries []delivery
}

// outcome is what a receiver got in one run.
type outcome struct {
	Fault, System              string
	Round                      int
	FaultFrom, FaultTo         time.Duration // since the begin
	Alerts, Duplicates, Missed int
	Latest                     time.Duration // after the end of its group's wait
	Each                       []met         `json:",omitempty"`
}

func judge(s *sender, r *receiver) (o outcome) {
	o.Alerts = len(s.names)
	for _, name := range s.names {
		m := met{Alert: name, Due: s.begun[name] + groupWait, Deliveries: r.of(name)}
		o.Each = append(o.Each, m)
		if len(m.Deliveries) == 0 {
			o.Missed++
			continue
		}
		o.Duplicates += len(m.Deliveries) - 1
		o.Latest = max(o.Latest, m.Deliveries[0].At-m.Due)
	}
	return o
}

// cell is the median of each number of several rounds.
func cell(rounds []outcome) string {
	if len(rounds) == 0 {
		return ""
	}
	return fmt.Sprintf("%d, %d, %.1fs",
		median(rounds, func(o outcome) int { return o.Duplicates }),
		median(rounds, func(o outcome) int { return o.Missed }),
		median(rounds, func(o outcome) time.Duration { return o.Latest }).Seconds())
}

func median[T cmp.Ordered](rounds []outcome, number func(outcome) T) T {
	var all []T
	for _, o := range rounds {
		all = append(all, number(o))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
