package alertmanager

import (
	"context"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// forgetLost is how long a member that is gone counts as missing, and maxLost
// bounds their number: Alertmanager tries a lost peer for six hours.
const (
	forgetLost = 6 * time.Hour
	maxLost    = 1000
)

// lost holds the members that this instance misses, by name, whether they
// failed or left: Alertmanager counts its failed peers so.
type lost struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// watch follows the view until ctx is done. A member that comes back under its
// name is no longer missed.
func (l *lost) watch(ctx context.Context, channel backend.ClusterChannel) {
	var before []backend.Member
	for v := range channel.Watch(ctx) {
		l.note(before, v.Members)
		before = v.Members
	}
}

func (l *lost) note(before, now []backend.Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range before {
		if len(l.since) < maxLost {
			l.since[m.Name] = time.Now()
		}
	}
	for _, m := range now {
		delete(l.since, m.Name)
	}
}

// count is the gauge's value.
func (l *lost) count() (n float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, since := range l.since {
		if time.Since(since) > forgetLost {
			delete(l.since, name)
			continue
		}
		n++
	}
	return n
}
