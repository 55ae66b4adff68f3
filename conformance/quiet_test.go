package conformance

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// quiet is a testing.TB that records failures and reports none.
type quiet struct {
	testing.TB

	mu     sync.Mutex
	errors []string
}

func (q *quiet) Error(args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.errors = append(q.errors, fmt.Sprint(args...))
}

func (q *quiet) Errorf(format string, args ...any) { q.Error(fmt.Sprintf(format, args...)) }
func (q *quiet) Log(...any)                        {}
func (q *quiet) Logf(string, ...any)               {}

// first returns the first line of the first failure.
func (q *quiet) first() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.errors) == 0 {
		return ""
	}
	line, _, _ := strings.Cut(q.errors[0], "\n")
	return line
}
