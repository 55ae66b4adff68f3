package core

// onClose says at once that this node is about to leave. It can still be asked.
func (c *Core) onClose() {
	if c.closing {
		return
	}
	c.closing = true
	c.sayLeaving()
}

// sayLeaving says that this node is about to leave. Where the transport's list has it
// until it is closed, that is said again, for as long as updates are still merged.
func (c *Core) sayLeaving() {
	if c.link != down {
		c.beatNow()
	}
	c.partAt = Never
	if c.transport.Native {
		c.partAt = c.now + partingAgain
	}
}

// onFlushed lingers for those that missed the last updates.
func (c *Core) onFlushed() {
	c.onClose()
	c.flushed = true
	if c.link == down || c.link == unheard || !c.anyNode() {
		c.lingerAt = c.now
		return
	}
	c.lingerAt = c.now + linger
	c.beatNow()
}

func (c *Core) tickClose() {
	switch {
	case !c.closing:
		return
	case c.now < c.lingerAt:
		if c.now >= c.partAt {
			c.sayLeaving()
		}
		return
	}
	c.closed, c.partAt = true, Never
	if c.link != down {
		c.send("", &Goodbye{Incarnation: c.incarnation, Count: c.pulse.Beat(c.now), Numbers: c.allNumbers()})
	}
	c.emit(Closed{})
}
