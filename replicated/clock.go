package replicated

import "time"

// stamp is when something was written, by a hybrid logical clock: milliseconds since
// 1970, and in the lowest 16 bits a count that tells apart what was written within one.
type stamp uint64

const (
	countBits = 16
	maxMillis = 1<<(64-countBits) - 1 // in the year 10889

	// neverSet is the time before which a clock stands that was never set: the begin of
	// the year 2000. Machines whose clock has no battery begin in 1970.
	neverSet = 946684800000

	// refused is how far ahead of this node's clock an entry is refused.
	refused = 24 * time.Hour
)

func (s stamp) millis() uint64 { return uint64(s >> countBits) }

// millisOf returns milliseconds since 1970, within what a stamp has room for.
func millisOf(t time.Time) uint64 { return uint64(min(max(t.UnixMilli(), 0), maxMillis)) }

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
	wall := millisOf(c.now())
	if wall < neverSet {
		return max(wall, c.last.millis())
	}
	return wall
}

// next returns a stamp for what is written on top of what has the stamp of before,
// or on nothing, which is 0: it is above that, whatever the clocks say. But a last one
// that is far ahead, since this node's clock was set back, is not kept to.
func (c *clock) next(before stamp) stamp {
	wall := c.wall()
	c.last = max(stamp(wall<<countBits), min(c.last+1, c.furthest(wall)))
	return max(c.last, before+1)
}

// saw notes the stamp of what another member wrote. A time far ahead does not move this
// clock further than a believable one.
func (c *clock) saw(s stamp) {
	furthest := c.furthest(c.wall())
	if s > furthest {
		c.ahead++
		s = furthest
	}
	c.last = max(c.last, s)
}

// furthest returns the latest stamp that is believed.
func (c *clock) furthest(wall uint64) stamp {
	if wall < neverSet {
		return maxMillis << countBits
	}
	return stamp(min(wall+uint64(c.maxAhead.Milliseconds()), maxMillis) << countBits)
}
