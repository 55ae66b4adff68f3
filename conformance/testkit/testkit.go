// Package testkit holds what the tests of several packages need.
package testkit

import (
	"strings"
	"sync"
	"time"
)

// TB is the part of testing.TB that is used here: no program should link
// package testing.
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

// Log keeps what was logged: all of it, or the latest 4 MiB. It may be written
// and read at the same time. The zero value is empty.
type Log struct {
	mu sync.Mutex
	b  []byte
}

const most = 4 << 20

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b = append(l.b, b...); len(l.b) > 2*most {
		l.b = append([]byte(nil), l.b[len(l.b)-most:]...)
	}
	return len(b), nil
}

// String returns what is kept.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// Tail returns the last lines, at most n.
func (l *Log) Tail(n int) string {
	lines := strings.Split(strings.TrimSuffix(l.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
