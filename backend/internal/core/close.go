package core

// onClose says at once that this node is about to leave. It can still be asked.
func (c *Core) onClose() {
	if c.closing {
		return
	}
	c.closing = true
	if c.link != down {
		c.beatNow()
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
	if !c.closing || c.now < c.lingerAt {
		return
	}
	c.closed = true
	if c.link != down {
		c.send("", &Goodbye{Incarnation: c.incarnation, Count: c.pulse.Beat(c.now), Numbers: c.allNumbers()})
	}
	c.emit(Closed{})
}
