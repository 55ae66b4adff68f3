package replicated

import "time"

// stamp is when something was written, by a hybrid logical clock: milliseconds since
// 1970, and in the lowest 16 bits a count that tells apart what was written within one.
type stamp uint64

const (
	countBits = 16
	maxMillis = 1<<(64-countBits) - 1 // in the year 10889

	// beyond is the time that no clock says, whether it was set or not: the begin of the
	// year 2200. What is counted on from it has room in a stamp.
	beyond = 7258118400000

	// neverSet is the time before which a clock stands that was never set: the begin of
	// the year 2000. Machines whose clock has no battery begin in 1970.
	neverSet = 946684800000

	// refused is how far ahead of this node's clock an entry is refused.
	refused = 24 * time.Hour
)

func (s stamp) millis() uint64 { return uint64(s >> countBits) }

// millisOf returns milliseconds since 1970, within what a clock may say.
func millisOf(t time.Time) uint64 { return uint64(min(max(t.UnixMilli(), 0), beyond)) }

// clock gives stamps. It is not safe for concurrent use.
type clock struct {
	now      func() time.Time
	maxAhead time.Duration
	last     stamp  // the latest that was given or believed
	ahead    uint64 // how many were not believed
}

// wall returns the time of this node. Where its clock was never set that is the time of
// what others wrote, as far as it knows.
func (c *clock) wall() uint64 {
	if wall := millisOf(c.now()); wall >= neverSet {
		return wall
	}
	return max(c.last.millis(), millisOf(c.now()))
}

// latest returns the time that is so far ahead of this node's. A clock that was never set
// judges nobody, but for what no clock says.
func (c *clock) latest(ahead time.Duration) uint64 {
	wall := millisOf(c.now())
	if wall < neverSet {
		return beyond
	}
	return min(wall+uint64(ahead.Milliseconds()), beyond)
}

// furthest returns the latest stamp that is believed.
func (c *clock) furthest() stamp { return stamp(c.latest(c.maxAhead) << countBits) }

// absurd reports whether a stamp is refused. That of an entry that this node holds may be,
// once its clock was set back.
func (c *clock) absurd(s stamp) bool { return s.millis() > c.latest(refused) }

// next returns a stamp for what is written on top of what has the stamp of before,
// or on nothing, which is 0: it is above that, whatever the clocks say. But one that is
// far ahead, since this node's clock was set back, is not kept to, and of the key itself
// only within what others merge.
func (c *clock) next(before stamp) stamp {
	c.last = max(stamp(c.wall()<<countBits), min(c.last+1, c.furthest()))
	if c.absurd(before) {
		return c.last
	}
	return max(c.last, before+1)
}

// saw notes the stamp of what another member wrote. A time far ahead does not move this
// clock further than a believable one.
func (c *clock) saw(s stamp) {
	furthest := c.furthest()
	if s > furthest {
		c.ahead++
		s = furthest
	}
	c.last = max(c.last, s)
}
