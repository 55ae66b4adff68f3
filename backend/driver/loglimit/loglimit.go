// Package loglimit bounds how often lines of one kind are logged, for what a
// broken network or a stranger can repeat without end.
package loglimit

import (
	"sync"
	"time"
)

// maxKinds bounds how many kinds are distinguished; further ones count as one.
const maxKinds = 256

// A Limiter lets Burst lines of each kind through in any period that begins with
// the first of them. The zero value is ready to use. Its methods may be called
// from many goroutines. It must not be copied.
type Limiter struct {
	Burst int           // 0 means 1
	Every time.Duration // the period; 0 means a minute

	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	since      time.Time // when the period began
	lines      int       // let through in it
	suppressed int       // since one was let through
}

// Allow reports whether a line of this kind may be logged now, and how many of
// its kind were suppressed since the last one that was.
func (l *Limiter) Allow(name string) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kind(name)
	if now := time.Now(); k.lines == 0 || now.Sub(k.since) >= l.every() {
		k.since, k.lines = now, 0
	}
	if k.lines >= max(l.Burst, 1) {
		k.suppressed++
		return 0, false
	}
	k.lines++
	suppressed, k.suppressed = k.suppressed, 0
	return suppressed, true
}

// kind returns the counts of a kind; l.mu is held. With maxKinds known, it
// forgets those whose period is over.
func (l *Limiter) kind(name string) *kind {
	if l.kinds == nil {
		l.kinds = map[string]*kind{}
	}
	if k := l.kinds[name]; k != nil {
		return k
	}
	if len(l.kinds) >= maxKinds {
		for old, k := range l.kinds {
			if time.Since(k.since) >= l.every() {
				delete(l.kinds, old)
			}
		}
	}
	if len(l.kinds) >= maxKinds {
		name = "\x00others"
	}
	k := l.kinds[name]
	if k == nil {
		k = &kind{}
		l.kinds[name] = k
	}
	return k
}

func (l *Limiter) every() time.Duration {
	if l.Every == 0 {
		return time.Minute
	}
	return l.Every
}
