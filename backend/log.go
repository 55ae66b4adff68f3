package backend

import (
	"log/slog"
	"sync"
	"time"
)

const (
	quietPeriod = time.Minute // between two lines about the same thing
	maxTopics   = 256
)

// limitedLog writes warnings of one topic at most once a quiet period, and then
// says how many it left out.
type limitedLog struct {
	*slog.Logger

	mu     sync.Mutex
	topics map[string]*topic
}

type topic struct {
	last time.Time
	left int
}

func newLimitedLog(l *slog.Logger) *limitedLog {
	return &limitedLog{Logger: l, topics: map[string]*topic{}}
}

func (l *limitedLog) warn(about, msg string, args ...any) {
	now := time.Now()
	l.mu.Lock()
	t := l.topics[about]
	if t == nil {
		if len(l.topics) >= maxTopics {
			clear(l.topics)
		}
		t = &topic{}
		l.topics[about] = t
	} else if now.Sub(t.last) < quietPeriod {
		t.left++
		l.mu.Unlock()
		return
	}
	left := t.left
	t.last, t.left = now, 0
	l.mu.Unlock()
	if left > 0 {
		args = append(args, "suppressed", left)
	}
	l.Warn(msg, args...)
}
