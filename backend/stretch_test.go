package backend_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// heard counts the frames that nodes hear.
type heard struct {
	driver.Handler
	frames *atomic.Int64
}

func (h heard) Frame(b []byte) {
	h.frames.Add(1)
	h.Handler.Frame(b)
}

func counted(frames *atomic.Int64) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := memory.Open(ctx, o)
		return counter{d, frames}, err
	}
}

type counter struct {
	driver.Driver
	frames *atomic.Int64
}

func (c counter) Serve(ctx context.Context, h driver.Handler) error {
	return c.Driver.Serve(ctx, heard{h, c.frames})
}

// TestHeartbeatsStretch holds what Timing.Heartbeat says of the cost of an idle
// cluster, and of the time until a crash is seen.
func TestHeartbeatsStretch(t *testing.T) {
	for _, c := range []struct {
		nodes      int
		deliveries int64 // a second, at most
		seen       time.Duration
	}{
		{3, 20, 3 * time.Second},
		{10, 200, 3 * time.Second},
		{16, 16 * 20, 5 * time.Second},
		{30, 30 * 20, 9 * time.Second},
	} {
		t.Run(fmt.Sprint(c.nodes), func(t *testing.T) {
			bubble(t, func(t *testing.T, bus *memory.Bus) {
				var frames atomic.Int64
				var all []backend.ClusterChannel
				for i := range c.nodes {
					all = append(all, open(t, bus, fmt.Sprintf("n%03d", i), func(cfg *backend.Config) {
						cfg.Driver, cfg.Timing.Sync = counted(&frames), time.Hour
					}))
				}
				after(time.Minute)
				before := frames.Load()
				after(time.Minute)
				if rate := (frames.Load() - before) / 60; rate > c.deliveries {
					t.Errorf("%d deliveries a second, want at most %d", rate, c.deliveries)
				}
				for i, n := range all {
					if len(n.Members()) != c.nodes {
						t.Fatalf("node %d counts %d members", i, len(n.Members()))
					}
				}
				dead, rest := all[0].View().Self().Name, all[1:]
				for _, n := range rest {
					bus.Cut(dead, n.View().Self().Name, true)
				}
				listed := func(n backend.ClusterChannel) bool { return slices.Contains(names(n), dead) }
				after(c.seen / 2)
				if !slices.ContainsFunc(rest, listed) {
					t.Errorf("dropped after %v", c.seen/2)
				}
				after(c.seen - c.seen/2)
				if slices.ContainsFunc(rest, listed) {
					t.Errorf("a member that fell silent %v ago is still listed", c.seen)
				}
			})
		})
	}
}
