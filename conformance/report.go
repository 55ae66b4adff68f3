package conformance

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// reporter is the testing.TB of one check. The check runs on a goroutine of its
// own, so that one that hangs can be given up; what it reports later is dropped.
type reporter struct {
	testing.TB

	mu       sync.Mutex
	failed   bool
	over     bool
	cleanups []func()
}

func (r *reporter) Errorf(format string, args ...any) {
	r.Helper()
	r.report(true, fmt.Sprintf(format, args...))
}

func (r *reporter) Error(args ...any) {
	r.Helper()
	r.report(true, fmt.Sprintln(args...))
}

func (r *reporter) Logf(format string, args ...any) {
	r.Helper()
	r.report(false, fmt.Sprintf(format, args...))
}

func (r *reporter) Log(args ...any) {
	r.Helper()
	r.report(false, fmt.Sprintln(args...))
}

func (r *reporter) Fatalf(format string, args ...any) {
	r.Helper()
	r.report(true, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *reporter) Fatal(args ...any) {
	r.Helper()
	r.report(true, fmt.Sprintln(args...))
	runtime.Goexit()
}

// Fail marks the check as failed without a word.
func (r *reporter) Fail() { r.report(true, "failed") }

// FailNow is Fail, and ends the goroutine.
func (r *reporter) FailNow() { r.Fatalf("failed") }

// Skip and the like fail: only Harness.Waive lets a check pass that did not run.
func (r *reporter) Skip(args ...any) { r.Fatalf("skipped: %s", fmt.Sprint(args...)) }
func (r *reporter) Skipf(format string, args ...any) {
	r.Fatalf("skipped: %s", fmt.Sprintf(format, args...))
}
func (r *reporter) SkipNow() { r.Fatalf("skipped") }

func (r *reporter) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *reporter) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *reporter) report(failure bool, text string) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	if failure {
		r.failed = true
		r.TB.Error(text)
		return
	}
	r.TB.Log(text)
}

// run calls f on a goroutine, and fails with a dump of all goroutines when it
// does not end in time. It tells whether f ended.
func (r *reporter) run(what string, d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("%s: panic: %v\n%s", what, p, stack(false))
			}
		}()
		f()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		r.Errorf("%s hangs: not done after %v; goroutines:\n%s", what, d, stack(true))
		return false
	}
}

// finish runs the clean-ups, the last one first, each for as long as d, and
// drops what is reported later.
func (r *reporter) finish(d time.Duration) {
	for f := r.pop(); f != nil; f = r.pop() {
		r.run("clean-up", d, f)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

func (r *reporter) pop() func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.cleanups)
	if n == 0 {
		return nil
	}
	f := r.cleanups[n-1]
	r.cleanups = r.cleanups[:n-1]
	return f
}

func stack(all bool) string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, all)])
}
