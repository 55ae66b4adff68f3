package redis

import (
	"context"
	"fmt"
	"log/slog"
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
	open []*slog.Logger       // of the drivers that are open
	last map[string]time.Time // by format; go-redis has a limited number of them
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
	now := time.Now()
	if at, ok := g.last[format]; ok && now.Sub(at) < repeatAfter {
		return nil
	}
	if g.last == nil {
		g.last = map[string]time.Time{}
	}
	g.last[format] = now
	if n := len(g.open); n > 0 {
		return g.open[n-1]
	}
	return slog.Default()
}
