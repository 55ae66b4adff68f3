package status

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// missed is for how long a member that is gone is missed: who has been gone for
// longer is gone for good.
const missed = time.Hour

// maxAbsent bounds the names that are missed.
const maxAbsent = 16

// absence is a member that is gone.
type absence struct {
	name  string
	since time.Time
}

// absent are the names that were members and are not.
type absent struct {
	mu  sync.Mutex
	all []absence
}

// compare notes what differs between two views. A view of a node that is cut off
// says nothing of the others.
func (a *absent) compare(old *backend.View, v backend.View, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	named := func(name string) func(backend.Member) bool {
		return func(m backend.Member) bool { return m.Name == name }
	}
	a.all = slices.DeleteFunc(a.all, func(g absence) bool { return slices.ContainsFunc(v.Members, named(g.name)) })
	if old == nil || v.Status != backend.Attached {
		return
	}
	for _, m := range old.Members {
		if !slices.ContainsFunc(v.Members, named(m.Name)) && !slices.ContainsFunc(a.all, func(g absence) bool { return g.name == m.Name }) {
			a.all = append(a.all, absence{m.Name, now})
		}
	}
	a.all = a.all[max(0, len(a.all)-maxAbsent):]
}

// list returns who is missed, sorted by name.
func (a *absent) list(now time.Time) []absence {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = slices.DeleteFunc(a.all, func(g absence) bool { return now.Sub(g.since) > missed })
	return slices.SortedFunc(slices.Values(a.all), func(x, y absence) int { return cmp.Compare(x.name, y.name) })
}
