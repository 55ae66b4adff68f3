// Package canary measures what a process could do: how late its own timers are.
package canary

import (
	"sync"
	"time"
)

// Canary wakes up again and again, and counts no more than a beat and a half each
// time. Its time stands still while the process gets no processor, so limits in it
// stretch with a machine that is slow or busy.
type Canary struct {
	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex
	passed time.Duration
	late   []lateness // the latest ones
}

// lateness is how much too late a canary woke up once.
type lateness struct {
	at time.Time
	by time.Duration
}

const (
	beat      = 10 * time.Millisecond
	slack     = beat / 2 // what is no lateness
	remembers = 20000
)

// Start starts a canary, which End ends.
func Start() *Canary {
	c := &Canary{stop: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c
}

func (c *Canary) run() {
	defer close(c.done)
	tick := time.NewTimer(beat)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		c.wake(now, now.Sub(last))
		last = now
		tick.Reset(beat)
	}
}

func (c *Canary) wake(now time.Time, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed += min(after, beat+slack)
	if by := after - beat - slack; by > 0 {
		if c.late = append(c.late, lateness{now, by}); len(c.late) > remembers {
			c.late = append([]lateness(nil), c.late[remembers/2:]...)
		}
	}
}

// Now returns the time that has passed for the process.
func (c *Canary) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed
}

// Late returns for how long, since then, the process did not run: in all, and at
// most at once.
func (c *Canary) Late(since time.Time) (all, worst time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.late) - 1; i >= 0 && c.late[i].at.After(since); i-- {
		all += c.late[i].by
		worst = max(worst, c.late[i].by)
	}
	return all, worst
}

// End ends the canary.
func (c *Canary) End() {
	close(c.stop)
	<-c.done
}
