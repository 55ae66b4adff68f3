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
	e.gone = e.expires
	if found {
		e.gone = max(e.expires, min(forgotten(before), e.expires+uint64(r.limits.Tombstones.Milliseconds())))
	}
	return e
}

// deleted returns the entry of a key that is deleted.
func (r *replica) deleted(c *clock, before entry, at stamp) entry {
	remembered := c.wall() + uint64(r.limits.Tombstones.Milliseconds())
	return entry{stamp: at, form: dead, gone: min(forgotten(before), remembered), key: before.key}
}

// forgotten returns when an entry would be gone by itself on all members, so that nobody
// need remember what took its place.
func forgotten(e entry) uint64 {
	if e.form == lasting {
		return 1<<63 - 1
	}
	return e.gone
}
