package redis

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// go-redis has one logger for the whole process. It is set once, before main
// runs, so that a service which sets its own keeps that.
func init() { goredis.SetLogger(&library) }

// library passes go-redis's lines on to the driver that was opened last: they do
// not tell whose they are.
var library libraryLog

// repeatAfter is how long a line keeps others of its kind away: in an outage
// go-redis writes the same one at each attempt.
const repeatAfter = 10 * time.Second

type libraryLog struct {
	mu   sync.Mutex
	open []*slog.Logger     // of the drivers that are open
	last map[line]time.Time // of late
}

// line is a kind of line in one log.
type line struct {
	log    *slog.Logger
	format string
}

// attach passes lines on to l until detach is called.
func (g *libraryLog) attach(l *slog.Logger) (detach func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = append(g.open, l)
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if i := slices.Index(g.open, l); i >= 0 {
			g.open = slices.Delete(g.open, i, i+1)
		}
	})
}

// Printf implements go-redis's logger.
func (g *libraryLog) Printf(ctx context.Context, format string, args ...any) {
	if to := g.target(format); to != nil {
		to.InfoContext(ctx, fmt.Sprintf(format, args...), "library", "go-redis")
	}
}

// target returns who is to log a line now, or nil.
func (g *libraryLog) target(format string) *slog.Logger {
	g.mu.Lock()
	defer g.mu.Unlock()
	to := slog.Default()
	if n := len(g.open); n > 0 {
		to = g.open[n-1]
	}
	now, of := time.Now(), line{to, format}
	maps.DeleteFunc(g.last, func(_ line, at time.Time) bool { return now.Sub(at) >= repeatAfter })
	if _, ok := g.last[of]; ok {
		return nil
	}
	if g.last == nil {
		g.last = map[line]time.Time{}
	}
	g.last[of] = now
	return to
}
