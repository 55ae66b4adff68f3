package once

import (
	"context"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

const (
	// meeting is for how long a node waits after it has met a member: two parts of a
	// cluster may have met, and the other one's results be on their way.
	meeting = time.Second

	// meetings is how long a call waits in all, however many members come.
	meetings = 10 * time.Second
)

// acquaintance is since when this node knows each member.
type acquaintance struct {
	mu    sync.Mutex
	since map[string]time.Time // by instance
}

// newAcquaintance knows those that are members already.
func newAcquaintance(v backend.View) *acquaintance {
	a := &acquaintance{since: map[string]time.Time{}}
	for _, m := range v.Members {
		a.since[m.Instance] = time.Time{}
	}
	return a
}

// watch follows the views until ctx is done.
func (a *acquaintance) watch(ctx context.Context, c backend.ClusterChannel) {
	for v := range c.Watch(ctx) {
		a.see(v)
	}
}

// see handles a view, and returns when this node last met a member that is there.
func (a *acquaintance) see(v backend.View) (last time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.since
	a.since = make(map[string]time.Time, len(v.Members))
	for _, m := range v.Members {
		since, known := before[m.Instance]
		if !known {
			since = time.Now()
		}
		a.since[m.Instance] = since
		if since.After(last) {
			last = since
		}
	}
	return last
}
