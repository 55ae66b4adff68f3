package replicated

import "time"

// written returns the entry of a key that is set, for a time unless that is 0.
func (r *replica) written(t *table, c *clock, key, value string, ttl time.Duration) entry {
	before, _, found := t.get(key)
	e := entry{stamp: c.next(before.stamp), form: lasting, key: key, value: value}
	if ttl == 0 {
		return e
	}
	e.form = expiring
	e.expires = min(c.wall()+uint64(ttl.Milliseconds()), maxMillis)
	e.keep, e.over = r.remembered(), e.expires
	if found {
		e.over = max(e.expires, before.outlasts())
	}
	return e
}

// deleted returns the entry of a key that is deleted. It is remembered in full, whatever
// it took the place of: others may have what this node has not seen.
func (r *replica) deleted(c *clock, key string, at stamp) entry {
	return entry{stamp: at, form: dead, until: max(c.wall(), at.millis()) + r.remembered(), key: key}
}

// remembered is for how many milliseconds a deletion is remembered: for Tombstones also
// by the members whose clocks are as far ahead of this one as is believed.
func (r *replica) remembered() uint64 {
	return uint64((r.limits.Tombstones + r.limits.MaxAhead).Milliseconds())
}
