package core

import "time"

// spurned says how often in a row a walk with a member brought nothing but entries that
// one of the two refuses.
type spurned struct {
	times int
	until time.Duration // no periodic comparison moves them again
}

// mergedOf notes what became of entries that a walk moved, in either direction.
func (w *walk) mergedOf(entries [][]byte, refused int) {
	if len(entries) == 0 {
		return
	}
	size, refused := SizeOf(entries), min(refused, len(entries))
	w.spurned += size * refused / len(entries)
	w.useful += size * (len(entries) - refused) / len(entries)
}

// isUseless reports whether a walk moves so much that is refused that the rest is left.
func (w *walk) isUseless() bool { return w.spurned > spurnedMost+2*w.useful }

// remember notes at the end of a walk whether it was of use.
func (w *walk) remember(c *Core) {
	p, st := w.pull.node, w.key.state
	if w.spurned+w.useful == 0 {
		return // nothing was moved
	}
	st.refusing = w.spurned > 0
	if w.spurned == 0 || w.useful > 0 {
		delete(p.spurned, st.key)
		return
	}
	if p.spurned == nil {
		p.spurned = map[string]spurned{}
	}
	s := p.spurned[st.key]
	s.times = min(s.times+1, spurnedTimes)
	s.until = c.now + min(c.cfg.Sync<<s.times, max(spurnedFor, c.cfg.Sync))
	p.spurned[st.key] = s
}

// isSpurned reports whether a walk would only bring again what was refused, as far as is
// known, and what came of that then. Where an update is missed it is taken all the same.
func (c *Core) isSpurned(pl *pull, k *pullKey) (o outcome, spurned bool) {
	st := k.state
	switch {
	case c.now >= pl.node.spurned[st.key].until, st.stale, st.compare, c.misses(st):
		return 0, false
	case !c.isReady(st):
		return refused, true
	}
	return answeredHere, pl.reason == "periodic"
}
