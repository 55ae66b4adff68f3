package core

import (
	"fmt"
	"testing"
	"time"
)

// Neighbours beat together once one of them does, and nobody more than once in half an
// interval.
func TestVolleys(t *testing.T) {
	name := func(i int) string { return fmt.Sprintf("b%03d", i) } // this node is a, the first
	for what, c := range map[string]struct {
		transport Transport
		members   int     // besides this one
		after     float64 // intervals since this node's last heartbeat
		who       string
		beat      Heartbeat
		follows   bool
	}{
		"a neighbour":                     {members: volley, after: 0.6, who: name(0), follows: true},
		"the last of the volley":          {members: volley, after: 0.6, who: name(volley - 2), follows: true},
		"the first of the next":           {members: volley, after: 0.6, who: name(volley - 1)},
		"just after its own":              {members: volley, after: 0.4, who: name(0)},
		"in a cluster of one volley":      {members: volley - 1, after: 0.6, who: name(0)},
		"one that opens":                  {members: volley, after: 0.6, who: name(0), beat: Heartbeat{Hello: true}},
		"one that leaves":                 {members: volley, after: 0.6, who: name(0), beat: Heartbeat{Leaving: true}},
		"a stranger's, too short to name": {members: volley, after: 0.6, who: "a0", beat: Heartbeat{Like: 7}},
		"where a list tells who is there": {transport: Transport{Native: true}, members: volley, after: 0.6, who: name(0)},
	} {
		p := newPair(t, c.transport)
		p.hears("b", &Goodbye{Count: 1})
		beat := func(i int, count uint64) *Heartbeat {
			return &Heartbeat{Member: Member{Name: name(i)}, Count: count, Interval: time.Minute, Worth: Whole}
		}
		for count := range uint64(3) { // until they count
			for i := range c.members {
				p.hears(name(i), beat(i, count+1))
			}
		}
		p.after(4 * time.Second) // its interval is that of so many
		p.interval = 3 * time.Second
		p.nextBeat = p.now + time.Duration((1-c.after)*float64(p.interval))
		p.sent = nil
		h := c.beat
		h.Member, h.Count, h.Interval, h.Worth = Member{Name: c.who}, 4, time.Minute, Whole
		p.hears(c.who, &h)
		p.after(time.Millisecond)
		if n := len(take[*Heartbeat](p)); (n == 1) != c.follows || n > 1 {
			t.Errorf("%s: it beats %d times", what, n)
		}
	}
}
