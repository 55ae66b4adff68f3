// Package testkit holds what the tests of several packages need.
package testkit

import (
	"strings"
	"sync"
	"time"
)

// TB is what is used of testing.TB: no program should link package testing.
type TB interface {
	Helper()                           // as of testing.TB
	Fatalf(format string, args ...any) // as of testing.TB
}

// Eventually polls until check returns nil. Once limit has passed it ends the
// test with the last error.
func Eventually(t TB, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", limit, err)
		}
		<-tick.C
	}
}

// Log is what was logged. It may be written to and read at once. The zero value
// is an empty one.
type Log struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// String returns all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
