package conformance

import (
	"fmt"
	"strings"
	"time"
)

// within waits until f returns nil, at most for budget b, and records the time
// it took. what is the condition, as a sentence.
func (e *env) within(b budget, what string, f func() error) {
	e.Helper()
	e.withinSince(time.Now(), b, what, f)
}

func (e *env) withinSince(start time.Time, b budget, what string, f func() error) {
	e.Helper()
	d := e.suite.budgets.limits[b]
	e.eventually(d-e.since(start), fmt.Sprintf("%s (budget %v)", what, b), f)
	took := e.since(start)
	e.suite.budgets.record(b, took, time.Since(start)-took)
}

// since returns how long ago start was, without the time in which the machine kept
// the process from running. Limits are in that time.
func (e *env) since(start time.Time) time.Duration {
	late, _ := e.suite.disturbance(start)
	return time.Since(start) - late
}

// eventually waits until f returns nil, at most for d, else ends the check with
// the last error. what is the condition, as a sentence.
func (e *env) eventually(d time.Duration, what string, f func() error) {
	e.Helper()
	start := time.Now()
	for {
		looked := time.Now()
		err := f()
		if err == nil {
			return
		}
		left := d - e.since(start)
		if left <= 0 {
			e.Fatalf("not within %v: %s: %v\n%s", time.Since(start).Round(time.Millisecond), what, err, e.views())
		}
		pause(looked, left)
	}
}

// always checks for d that f returns nil, else ends the check with the error.
// what is the condition, as a sentence.
func (e *env) always(d time.Duration, what string, f func() error) {
	e.Helper()
	start := time.Now()
	for {
		looked := time.Now()
		if err := f(); err != nil {
			e.Fatalf("after %v it does not hold that %s: %v\n%s", time.Since(start).Round(time.Millisecond), what, err, e.views())
		}
		left := d - time.Since(start)
		if left <= 0 {
			return
		}
		pause(looked, left)
	}
}

// pause sleeps at least four times as long as the last look took, and no longer
// than the time left.
func pause(looked time.Time, left time.Duration) {
	<-time.After(min(left, max(2*time.Millisecond, 4*time.Since(looked))))
}

// done waits for c to be closed, at most for d, else ends the check.
func (e *env) done(d time.Duration, what string, c <-chan struct{}) {
	e.Helper()
	for start := time.Now(); ; {
		left := d - e.since(start)
		if left <= 0 {
			e.Fatalf("not within %v: %s; goroutines:\n%s", time.Since(start).Round(time.Millisecond), what, stack(true))
		}
		select {
		case <-c:
			return
		case <-time.After(left):
		}
	}
}

// views shows every open node's view, and what was seen of its driver.
func (e *env) views() string {
	var b strings.Builder
	for _, n := range e.opened() {
		if n.gone.Load() {
			continue
		}
		v := n.View()
		fmt.Fprintf(&b, "  %s: position %d of %s, %v, %v, epoch %d, err %v\n    %s\n", n, v.Position, listing(v.Members), v.Status, v.Ready, v.Epoch, v.Err, n.tap.account())
	}
	return b.String()
}
