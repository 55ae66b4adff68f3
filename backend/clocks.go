package backend

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// Nothing here decides by another node's clock, but what services share often
// does: so a node says whose clock is apart from its own. It finds that by the
// time at which each update left.
//
// Where an update arrives before it left, the clock there is ahead. One that
// arrives late may have waited on the way, so a clock counts as behind only if
// that was so of all updates within a while.
const (
	clockWhile   = time.Minute
	clockUpdates = 4
)

// clocks are those of the members that said when an update left.
type clocks struct {
	mu  sync.Mutex
	all map[string]*memberClock // by instance
}

// memberClock is what is known of one.
type memberClock struct {
	name  string
	ahead time.Duration // of this node's; 0: it is not apart
	since time.Time     // when that was found

	began time.Time     // when the updates began that all came late
	late  int           // how many did
	least time.Duration // how late, at least
}

// keep forgets the clocks of those that are no members.
func (c *clocks) keep(members []core.Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]*memberClock, len(members))
	for _, m := range members {
		if all[m.Instance] = c.all[m.Instance]; all[m.Instance] == nil {
			all[m.Instance] = &memberClock{name: m.Name, least: math.MaxInt64}
		}
	}
	c.all = all
}

// heard notes an update that left at sent by the clock of its origin. If that
// changes what is known, it returns the member's name, and what is known now.
func (c *clocks) heard(origin []byte, sent int64, now time.Time) (name string, ahead time.Duration, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.all[string(origin)]
	if m == nil {
		return "", 0, false
	}
	ahead, known := m.judge(max(now.Sub(time.Unix(0, sent)), -math.MaxInt64), now)
	if !known || (m.ahead == 0) == (ahead == 0) && (ahead-m.ahead).Abs() < driver.ClocksApart {
		return "", 0, false
	}
	if m.ahead == 0 {
		m.since = now
	}
	m.ahead = ahead
	return m.name, ahead, true
}

// judge returns how far the clock is ahead, where an update that came so late
// tells.
func (m *memberClock) judge(late time.Duration, now time.Time) (ahead time.Duration, known bool) {
	if late > driver.ClocksApart {
		if m.late == 0 {
			m.began = now
		}
		m.late++
		m.least = min(m.least, late)
		if m.late < clockUpdates || now.Sub(m.began) < clockWhile {
			return 0, false
		}
		ahead = -m.least
	} else if late < -driver.ClocksApart {
		ahead = -late
	}
	m.late, m.least = 0, math.MaxInt64
	return ahead, true
}

// troubles returns the clocks that are apart, by name.
func (c *clocks) troubles() []Trouble {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Trouble
	for m := range maps.Values(c.all) {
		if m.ahead != 0 {
			all = append(all, Trouble{clockOf(m.name), clockError(m.ahead), m.since})
		}
	}
	return slices.SortedFunc(slices.Values(all), func(a, b Trouble) int { return strings.Compare(a.What, b.What) })
}

func clockOf(name string) string { return "the clock of " + name }

func clockError(ahead time.Duration) error {
	found, fix := driver.TellClock(ahead)
	return errors.New(found + "; " + fix)
}

// heardClock notes when an update left, and tells what is new of it.
func (n *node) heardClock(origin []byte, sent int64, now time.Time) {
	if sent == 0 || string(origin) == n.self.Instance {
		return
	}
	name, ahead, changed := n.clocks.heard(origin, sent, now)
	if !changed {
		return
	}
	if ahead == 0 {
		n.log.Info("the clocks agree again", "member", name)
		return
	}
	n.log.warn("clock:"+name, "the clock of a member is apart from this node's", "member", name, "err", clockError(ahead))
}

// allTroubles are those of the transport, then clocks.
func (n *node) allTroubles() []Trouble { return append(n.troubles.list(), n.clocks.troubles()...) }
