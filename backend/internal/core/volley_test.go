package core

import (
	"fmt"
	"testing"
	"time"
)

// Who is to beat soon beats with the middle of its volley, who has just beaten waits
// longer, and nothing else moves a heartbeat.
func TestVolleys(t *testing.T) {
	name := func(i int) string { return fmt.Sprintf("b%03d", i) } // this node is a, the first
	const middle = volley/2 - 1
	for what, c := range map[string]struct {
		transport Transport
		members   int     // besides this one
		after     float64 // intervals since this node's last heartbeat
		who       string
		beat      Heartbeat
		marks     bool // it has beaten half an interval ago
		follows   bool
		later     time.Duration
	}{
		"the middle":                           {members: volley, after: 0.6, who: name(middle), follows: true},
		"the middle, at the same moment":       {members: volley, after: 0.1, who: name(middle), later: 3 * time.Second / 10},
		"the middle, just after this one":      {members: volley, after: 0.4, who: name(middle), later: 3 * time.Second / 4},
		"the middle, after a mark":             {members: volley, after: 0.6, who: name(middle), marks: true},
		"a neighbour of it":                    {members: volley, after: 0.6, who: name(middle + 1)},
		"the middle of the next":               {members: 2*volley + 1, after: 0.6, who: name(middle + volley)},
		"in a cluster of one volley":           {members: volley - 1, after: 0.6, who: name(middle)},
		"one that opens":                       {members: volley, after: 0.6, who: name(middle), beat: Heartbeat{Hello: true}},
		"one that leaves":                      {members: volley, after: 0.6, who: name(middle), beat: Heartbeat{Leaving: true}},
		"a stranger's, too short to name":      {members: volley, after: 0.6, who: "a0", beat: Heartbeat{Like: 7}},
		"where a list tells who is there":      {transport: Transport{Native: true}, members: volley, after: 0.6, who: name(middle)},
		"of many that were heard once, if few": {members: 9, after: 0.6, who: name(middle)},
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
		for i := c.members; i < volley; i++ {
			p.hears(name(i), beat(i, 3)) // invented
		}
		p.after(4 * time.Second)
		p.interval = 3 * time.Second
		h := c.beat
		h.Member, h.Count, h.Interval, h.Worth = Member{Name: c.who}, 4, time.Minute, Whole
		if c.marks {
			before := h
			p.hears(c.who, &before)
			h.Count++
			p.after(p.interval / 2)
		}
		due := p.now + time.Duration((1-c.after)*float64(p.interval))
		p.nextBeat, p.sent = due, nil
		p.hears(c.who, &h)
		p.after(time.Millisecond)
		if n := len(take[*Heartbeat](p)); (n == 1) != c.follows || n > 1 {
			t.Errorf("%s: it beats %d times", what, n)
		}
		if later := p.nextBeat - due; !c.follows && later != c.later {
			t.Errorf("%s: its next heartbeat is %v later, want %v", what, later, c.later)
		}
	}
}

// A volley is together within three intervals, whatever its members began with, and moves
// to nobody's heartbeat but the middle's.
func TestVolleysComeTogether(t *testing.T) {
	for offset := range 60 {
		p := newPair(t, Transport{})
		p.hears("b", &Goodbye{Count: 1})
		for count := range uint64(3) {
			for i := range volley {
				p.hears(fmt.Sprintf("b%03d", i), &Heartbeat{Member: Member{Name: fmt.Sprintf("b%03d", i)}, Count: count + 1, Interval: time.Minute, Worth: Whole})
			}
		}
		p.after(10 * time.Second)
		leader, apart := fmt.Sprintf("b%03d", volley/2-1), time.Duration(0)
		p.after(p.interval * time.Duration(offset) / 60)
		for count := range uint64(5) {
			p.hears(leader, &Heartbeat{Member: Member{Name: leader}, Count: count + 4, Interval: time.Minute, Worth: Whole})
			p.after(time.Millisecond)
			apart = min(p.nextBeat-p.now, p.interval-(p.nextBeat-p.now)).Abs()
			p.after(p.interval - time.Millisecond)
		}
		if apart > 10*time.Millisecond {
			t.Errorf("from %d of 60 of an interval on: it is %v apart from the one that leads", offset, apart)
		}
	}
}

// A heartbeat announces no more than twice the interval of the one before, however many
// members there suddenly are.
func TestIntervalsDouble(t *testing.T) {
	p := newPair(t, Transport{})
	for count := range uint64(3) {
		for i := range 100 {
			name := fmt.Sprintf("b%03d", i)
			p.hears(name, &Heartbeat{Member: Member{Name: name}, Count: count + 1, Interval: time.Minute, Worth: Whole})
		}
	}
	p.sent = nil
	p.after(20 * time.Second)
	last := 500 * time.Millisecond
	for _, h := range take[*Heartbeat](p) {
		if h.Like == 0 {
			if h.Interval > 2*last {
				t.Errorf("%v is announced after %v", h.Interval, last)
			}
			last = h.Interval
		}
	}
	if last < 5*time.Second {
		t.Errorf("it ends at %v", last)
	}
}
