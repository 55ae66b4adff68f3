package core

import (
	"slices"
	"time"
)

// missedUpdate is the last number of an origin for a key that is not registered
// here: if it soon is, this is what was missed.
type missedUpdate struct {
	node        *node
	key         string
	incarnation uint32
	number      uint64
	at          time.Duration
}

func (c *Core) missUnregistered(now time.Duration, p *node, key string, incarnation uint32, number uint64) {
	if len(key) > maxKeyBytes {
		return
	}
	for i := range c.missed {
		if f := &c.missed[i]; f.node == p && f.key == key && f.incarnation == incarnation {
			f.number, f.at = max(f.number, number), now
			return
		}
	}
	if len(c.missed) >= maxUnregistered {
		c.missed = slices.Delete(c.missed, 0, 1)
	}
	c.missed = append(c.missed, missedUpdate{p, key, incarnation, number, now})
}

// recallMissed handles what was missed for a key that is registered now.
func (c *Core) recallMissed(st *state) {
	c.missed = slices.DeleteFunc(c.missed, func(f missedUpdate) bool {
		if f.key != st.key {
			return false
		}
		if c.now-f.at <= unregisteredFor && f.node.incarnation == f.incarnation && c.roster.get(f.node.Instance) == f.node {
			c.announced(f.node, f.incarnation, Last{f.key, f.number})
		}
		return true
	})
}
