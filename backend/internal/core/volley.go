package core

import "time"

// beatWith brings this node into step with the member that leads its volley and has just
// beaten, for the first time in quiet. What comes in volleys wakes a node once, and a
// server hands it on to each node in few writes. Who is to beat soon does so now, and who
// has just beaten waits a little longer for the next time: nobody beats twice in half an
// interval, or not in one and a quarter. A mark, or a member that is new and beats more
// often, leads nobody.
func (c *Core) beatWith(p *node, quiet time.Duration) {
	switch {
	case quiet < c.interval*3/4 || !c.leads(p):
	case c.nextBeat-c.now <= c.interval/2:
		c.nextBeat = c.now
	default:
		c.nextBeat = min(c.nextBeat+c.interval/4, c.now+c.interval)
	}
}

// leads reports whether a member leads the volley of this node. Volleys are of neighbours
// in the order of the members, and the one in the middle leads: who comes from the next
// volley, when others have left, so falls into step and brings nobody its own. A cluster
// that is but one volley has none: it would save little, and whoever beats first in a
// volley sees a crash half an interval later than on average.
func (c *Core) leads(p *node) bool {
	own, _ := c.roster.find(c.cfg.Self)
	its, _ := c.roster.find(p.Member)
	if its >= own {
		its++ // this node is before it
	}
	first := own / volley * volley
	middle := first + min(volley, len(c.roster.live)+1-first)/2
	return its == middle && c.roster.settled() >= volley // which looks at all
}
