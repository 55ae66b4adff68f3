package conformance

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// watchdog is the testing.TB of one check. The check runs on its own goroutine,
// so that one that hangs can be abandoned; what it reports later is dropped.
type watchdog struct {
	testing.TB

	mu       sync.Mutex
	failed   bool
	over     bool
	cleanups []func()
}

func (w *watchdog) Errorf(format string, args ...any) {
	w.Helper()
	w.report(true, fmt.Sprintf(format, args...))
}

func (w *watchdog) Error(args ...any) {
	w.Helper()
	w.report(true, fmt.Sprintln(args...))
}

func (w *watchdog) Logf(format string, args ...any) {
	w.Helper()
	w.report(false, fmt.Sprintf(format, args...))
}

func (w *watchdog) Log(args ...any) {
	w.Helper()
	w.report(false, fmt.Sprintln(args...))
}

func (w *watchdog) Fatalf(format string, args ...any) {
	w.Helper()
	w.report(true, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (w *watchdog) Fatal(args ...any) {
	w.Helper()
	w.report(true, fmt.Sprintln(args...))
	runtime.Goexit()
}

// Fail marks the check as failed, without a message.
func (w *watchdog) Fail() { w.report(true, "failed") }

// FailNow is Fail, and ends the goroutine.
func (w *watchdog) FailNow() { w.Fatalf("failed") }

// Skip and the like fail: only Harness.Waive lets a check pass that did not run.
func (w *watchdog) Skip(args ...any) { w.Fatalf("skipped: %s", fmt.Sprint(args...)) }
func (w *watchdog) Skipf(format string, args ...any) {
	w.Fatalf("skipped: %s", fmt.Sprintf(format, args...))
}
func (w *watchdog) SkipNow() { w.Fatalf("skipped") }

func (w *watchdog) Failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *watchdog) Cleanup(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cleanups = append(w.cleanups, f)
}

func (w *watchdog) report(failure bool, text string) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	if failure {
		w.failed = true
		w.TB.Error(text)
		return
	}
	w.TB.Log(text)
}

// run calls f on a goroutine, and fails with a dump of all goroutines when it
// does not end in time. It reports whether f ended.
func (w *watchdog) run(what string, d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				w.Errorf("%s: panic: %v\n%s", what, p, stack(false))
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
		w.Errorf("%s hangs: not done after %v; goroutines:\n%s", what, d, stack(true))
		return false
	}
}

// finish runs the clean-ups, the last one first, each for as long as d, and
// drops what is reported later.
func (w *watchdog) finish(d time.Duration) {
	for f := w.pop(); f != nil; f = w.pop() {
		w.run("clean-up", d, f)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

func (w *watchdog) pop() func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.cleanups)
	if n == 0 {
		return nil
	}
	f := w.cleanups[n-1]
	w.cleanups = w.cleanups[:n-1]
	return f
}

func stack(all bool) string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, all)])
}
