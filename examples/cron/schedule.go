package main

import (
	"context"
	"iter"
	"time"
)

// schedule yields each moment that is a multiple of a period, when it has come, until
// ctx is done. All nodes have the same moments, as far as their clocks agree.
func schedule(ctx context.Context, every time.Duration) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for {
			next := time.Now().Truncate(every).Add(every)
			timer := time.NewTimer(time.Until(next))
			select {
			case <-timer.C:
				if !yield(next) {
					return
				}
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}
}
