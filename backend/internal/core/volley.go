package core

// beatWith has this node beat with a member that has just beaten, if both are of one
// volley and its own heartbeat is due soon. What comes in volleys wakes a node once, and a
// server hands it on to each node in few writes. No node so beats twice in half an
// interval, whatever it hears.
func (c *Core) beatWith(p *node) {
	if c.nextBeat-c.now <= c.interval/2 && c.inVolley(p) {
		c.nextBeat = c.now
	}
}

// inVolley reports whether a member beats with this node. Volleys are of neighbours in
// the order of the members. A cluster that is but one has none: it would save little, and
// whoever beats first in a volley sees a crash half an interval later than on average.
func (c *Core) inVolley(p *node) bool {
	if len(c.roster.live) < volley {
		return false
	}
	own, _ := c.roster.find(c.cfg.Self)
	its, _ := c.roster.find(p.Member)
	if its >= own {
		its++ // this node is before it
	}
	return own/volley == its/volley
}
