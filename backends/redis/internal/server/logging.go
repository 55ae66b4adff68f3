package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver/loglimit"
)

// go-redis has one logger for the whole process. It is set once, before main
// runs, so that a service which sets its own keeps that.
func init() { goredis.SetLogger(&library) }

// library passes go-redis's lines on to the driver that was opened last: the
// lines do not say which client wrote them. A line suppresses others of its
// kind for a while, since in an outage go-redis writes the same one at each
// attempt.
var library = libraryLog{lines: loglimit.Limiter{Every: 10 * time.Second}}

type libraryLog struct {
	mu    sync.Mutex
	open  []*slog.Logger // of the drivers that are open
	lines loglimit.Limiter
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
	to := g.newest()
	if _, ok := g.lines.Allow(fmt.Sprintf("%p %s", to, format)); ok {
		to.InfoContext(ctx, fmt.Sprintf(format, args...), "library", "go-redis")
	}
}

// newest returns the log of the driver that was opened last.
func (g *libraryLog) newest() *slog.Logger {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.open); n > 0 {
		return g.open[n-1]
	}
	return slog.Default()
}
