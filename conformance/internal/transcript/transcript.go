// Package transcript has a testing.TB for what is not run by go test.
package transcript

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

// T is a testing.TB that keeps what is reported.
type T struct{ *tb }

// tb has the methods of testing.TB.
type tb struct {
	testing.TB // nil; it has the unexported method

	ctx  context.Context
	name string

	mu       sync.Mutex
	failed   bool
	text     strings.Builder
	cleanups []func()
}

// New returns an empty T with a name; its context is ctx.
func New(ctx context.Context, name string) T { return T{&tb{ctx: ctx, name: name}} }

// Run calls f on a goroutine that FailNow may end, and then the clean-ups.
func (r T) Run(f func(t testing.TB)) {
	ctx, cancel := context.WithCancel(r.ctx)
	r.ctx = ctx
	r.Contained(func() { f(r) })
	cancel()
	r.CleanUp()
}

// CleanUp calls the functions given to Cleanup, the last one first.
func (r T) CleanUp() {
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
		r.Contained(f)
	}
}

// Contained calls f on a goroutine that FailNow may end, and waits for it.
func (r T) Contained(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		f()
	}()
	<-done
}

// Text returns what was reported.
func (r T) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// Write implements io.Writer for Output.
func (r *tb) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *tb) line(text string) {
	_, _ = io.WriteString(r, strings.TrimRight(text, "\n")+"\n") // it goes to memory
}

func (r *tb) Fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *tb) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *tb) FailNow()                  { r.Fail(); runtime.Goexit() }
func (r *tb) Log(args ...any)           { r.line(fmt.Sprintln(args...)) }
func (r *tb) Logf(f string, a ...any)   { r.line(fmt.Sprintf(f, a...)) }
func (r *tb) Error(args ...any)         { r.Log(args...); r.Fail() }
func (r *tb) Errorf(f string, a ...any) { r.Logf(f, a...); r.Fail() }
func (r *tb) Fatal(args ...any)         { r.Log(args...); r.FailNow() }
func (r *tb) Fatalf(f string, a ...any) { r.Logf(f, a...); r.FailNow() }
func (r *tb) Skip(args ...any)          { r.Fatal("skipped: " + fmt.Sprint(args...)) }
func (r *tb) Skipf(f string, a ...any)  { r.Fatalf("skipped: "+f, a...) }
func (r *tb) SkipNow()                  { r.Fatal("skipped") }
func (r *tb) Skipped() bool             { return false }
func (r *tb) Helper()                   {}
func (r *tb) Name() string              { return r.name }
func (r *tb) Context() context.Context  { return r.ctx }
func (r *tb) Output() io.Writer         { return r }
func (r *tb) ArtifactDir() string       { return r.TempDir() }
func (r *tb) Attr(key, value string)    { r.Logf("%s: %s", key, value) }

func (r *tb) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *tb) TempDir() string {
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
func (r *tb) Setenv(key, _ string) { r.Fatalf("Setenv(%q): checks run side by side", key) }
func (r *tb) Chdir(dir string)     { r.Fatalf("Chdir(%q): checks run side by side", dir) }

var _ testing.TB = T{}
