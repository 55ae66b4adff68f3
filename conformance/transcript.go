package conformance

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// transcript is the testing.TB of a check that is not run by go test. It keeps
// what is reported.
type transcript struct {
	testing.TB // nil; it has the unexported method

	ctx  context.Context
	name string

	mu       sync.Mutex
	failed   bool
	text     strings.Builder
	cleanups []func()
}

// run calls f on a goroutine that FailNow may end, and then the clean-ups.
func (r *transcript) run(f func(t testing.TB)) {
	ctx, cancel := context.WithCancel(r.ctx)
	r.ctx = ctx
	r.contained(func() { f(r) })
	cancel()
	r.cleanUp()
}

// cleanUp calls the functions given to Cleanup, the last one first.
func (r *transcript) cleanUp() {
	for {
		r.mu.Lock()
		n := len(r.cleanups)
		if n == 0 {
			r.mu.Unlock()
			return
		}
		f := r.cleanups[n-1]
		r.cleanups = r.cleanups[:n-1]
		r.mu.Unlock()
		r.contained(f)
	}
}

func (r *transcript) contained(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v\n%s", p, stack(false))
			}
		}()
		f()
	}()
	<-done
}

func (r *transcript) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// Write implements io.Writer for Output.
func (r *transcript) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *transcript) line(text string) {
	_, _ = io.WriteString(r, strings.TrimRight(text, "\n")+"\n") // it goes to memory
}

func (r *transcript) Fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *transcript) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *transcript) FailNow()                  { r.Fail(); runtime.Goexit() }
func (r *transcript) Log(args ...any)           { r.line(fmt.Sprintln(args...)) }
func (r *transcript) Logf(f string, a ...any)   { r.line(fmt.Sprintf(f, a...)) }
func (r *transcript) Error(args ...any)         { r.Log(args...); r.Fail() }
func (r *transcript) Errorf(f string, a ...any) { r.Logf(f, a...); r.Fail() }
func (r *transcript) Fatal(args ...any)         { r.Log(args...); r.FailNow() }
func (r *transcript) Fatalf(f string, a ...any) { r.Logf(f, a...); r.FailNow() }
func (r *transcript) Skip(args ...any)          { r.Fatal("skipped: " + fmt.Sprint(args...)) }
func (r *transcript) Skipf(f string, a ...any)  { r.Fatalf("skipped: "+f, a...) }
func (r *transcript) SkipNow()                  { r.Fatal("skipped") }
func (r *transcript) Skipped() bool             { return false }
func (r *transcript) Helper()                   {}
func (r *transcript) Name() string              { return r.name }
func (r *transcript) Context() context.Context  { return r.ctx }
func (r *transcript) Output() io.Writer         { return r }
func (r *transcript) ArtifactDir() string       { return r.TempDir() }
func (r *transcript) Attr(key, value string)    { r.Logf("%s: %s", key, value) }

func (r *transcript) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *transcript) TempDir() string {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			r.Error(err)
		}
	})
	return dir
}

// Setenv and Chdir would change the whole process, in which checks run side by
// side.
func (r *transcript) Setenv(key, _ string) { r.Fatalf("Setenv(%q): checks run side by side", key) }
func (r *transcript) Chdir(dir string)     { r.Fatalf("Chdir(%q): checks run side by side", dir) }

var _ testing.TB = (*transcript)(nil)
