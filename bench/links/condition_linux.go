package main

import (
	"math/rand/v2"
	"time"
)

// condition is what a link does to the packets of one direction.
type condition struct {
	delay, jitter time.Duration // a packet takes delay, give or take jitter
	loss          float64       // the share that is lost
	early         float64       // the share that does not wait for delay, and overtakes what does
	rate          int           // bits a second; 0: any
	queue         int           // with rate: bytes that wait at most, else what comes is lost
	mtu           int           // of an IP packet; a larger one is refused; 0: any
}

// setting is a condition by name. Where far is set, two of the five nodes are in
// a zone of their own, and it holds between the zones alone.
type setting struct {
	name, title string
	condition
	far bool
}

const ms = time.Millisecond

var settings = []setting{
	{"none", "none", condition{}, false},
	{"delay", "50 ms", condition{delay: 50 * ms}, false},
	{"jitter", "50 ms, 20 ms of jitter", condition{delay: 50 * ms, jitter: 20 * ms}, false},
	{"loss1", "1 % is lost", condition{loss: 0.01}, false},
	{"loss5", "5 % is lost", condition{loss: 0.05}, false},
	{"rate", "10 Mbit/s", condition{rate: 10e6, queue: 64 << 10}, false},
	{"order", "20 ms, which a quarter does not wait for", condition{delay: 20 * ms, early: 0.25}, false},
	{"mtu", "an MTU of 1,280", condition{mtu: 1280}, false},
	{"zones", "two zones, 80 ms apart", condition{delay: 80 * ms}, true},
}

// direction is one direction of a link.
type direction struct {
	condition
	random *rand.Rand
	free   time.Time // when what was taken before has been sent
	last   time.Time // when the latest arrives
}

// due says when a packet of that size arrives which is sent now; false means
// that it is lost.
func (d *direction) due(now time.Time, size int) (time.Time, bool) {
	if d.rate > 0 {
		if d.free.Before(now) {
			d.free = now
		}
		if int(d.free.Sub(now).Seconds()*float64(d.rate)/8)+size > d.queue {
			return now, false
		}
		d.free = d.free.Add(time.Duration(size) * 8 * time.Second / time.Duration(d.rate))
		now = d.free
	}
	if d.random.Float64() < d.loss {
		return now, false
	}
	if d.random.Float64() < d.early {
		return now, true
	}
	at := now.Add(d.delay)
	if d.jitter > 0 {
		at = at.Add(time.Duration(d.random.Int64N(int64(2*d.jitter))) - d.jitter)
	}
	if at.Before(d.last) {
		at = d.last
	}
	d.last = at
	return at, true
}
