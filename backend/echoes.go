package backend

import (
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// echoMoment is for how long a merged update is known for the suppression of its
// echo. Channel.Broadcast states it.
const echoMoment = time.Second

// echoes knows which payloads of a state need not be broadcast, since they have
// reached everybody from their origin: what is being merged now, and what was
// merged moments ago as a numbered update, unless this node has said something of
// its own since. A full state, or an update of a foreign node, may have
// reached nobody else.
type echoes struct {
	mu      sync.Mutex
	merging uint64  // hash of what is being merged; 0: nothing
	recent  []heard // by the low bits of the hash; made when it is needed
	foreign []heard // likewise, of updates without a number
	count   uint64  // of what was put into recent
	said    uint64  // the count when this node last said something of its own
}

// heard is a payload that was merged.
type heard struct {
	hash, count uint64
	at          time.Time
}

const echoesKept = 512 // a power of two

// begin notes that b is being merged, until end is called.
func (e *echoes) begin(b []byte) (hash uint64) {
	hash = xxhash.Sum64(b) | 1 // never 0
	e.mu.Lock()
	e.merging = hash
	e.mu.Unlock()
	return hash
}

// end notes that the Merge has returned.
func (e *echoes) end(hash uint64, numbered bool, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.merging = 0
	if !numbered {
		return
	}
	if e.recent == nil {
		e.recent = make([]heard, echoesKept)
	}
	e.count++
	e.recent[hash>>1%echoesKept] = heard{hash, e.count, now}
}

// foreignMoment is for how long the same bytes of foreign members are one update: they
// have no number, and gossip repeats them.
const foreignMoment = 5 * time.Second

// repeated reports whether b, an update without a number, arrived moments ago, with one
// or without.
func (e *echoes) repeated(b []byte, now time.Time) bool {
	hash := xxhash.Sum64(b) | 1
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.foreign == nil {
		e.foreign = make([]heard, echoesKept)
	}
	slot := hash >> 1 % echoesKept
	for _, ring := range [][]heard{e.foreign, e.recent} {
		if ring != nil && ring[slot].hash == hash && now.Sub(ring[slot].at) < foreignMoment {
			return true
		}
	}
	e.foreign[slot] = heard{hash: hash, at: now}
	return false
}

// can reports whether there is anything to compare with.
func (e *echoes) can() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.merging != 0 || e.count > e.said
}

// has reports whether b has reached everybody. If not, this node says it.
func (e *echoes) has(b []byte) bool {
	if !e.can() {
		return false
	}
	hash := xxhash.Sum64(b) | 1
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.merging == hash {
		return true
	}
	if e.count > e.said {
		r := &e.recent[hash>>1%echoesKept]
		if r.hash == hash && r.count > e.said && time.Since(r.at) < echoMoment {
			return true
		}
		e.said = e.count
	}
	return false
}
