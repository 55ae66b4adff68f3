package backend

import (
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	windowSize = 1 << 16 // how far behind the newest update a late one is still told from a duplicate
	maxOrigins = 4096    // of which sequence numbers are kept
	gapDelay   = 250 * time.Millisecond
)

// origins tracks the sequence numbers of every node whose updates arrive.
type origins struct {
	mu  sync.Mutex
	all map[string]*origin
}

// origin is one node's sequence: everything up to base has arrived or is
// repaired, and top is the newest known of. The window tells what has arrived.
type origin struct {
	base, top uint64
	seen      []uint64  // bitmap of (top-windowSize, top]
	heard     bool      // since the last call of takeHeard
	gapSince  time.Time // when base fell behind top; zero: it has not
	used      time.Time
	said      Said // for Inspect alone
}

func newOrigins() *origins { return &origins{all: map[string]*origin{}} }

// get returns the origin named id; the caller holds mu.
func (os *origins) get(id []byte, now time.Time) *origin {
	o := os.all[string(id)]
	if o == nil {
		if len(os.all) >= maxOrigins {
			os.evict()
		}
		o = &origin{}
		os.all[string(id)] = o
	}
	o.used = now
	return o
}

func (os *origins) evict() {
	var oldest string
	var at time.Time
	for id, o := range os.all {
		if at.IsZero() || o.used.Before(at) {
			oldest, at = id, o.used
		}
	}
	delete(os.all, oldest)
}

// fresh tells whether the update seq itself has not arrived yet, be it repaired
// or not: an origin may broadcast before its own state has the update.
func (o *origin) fresh(seq uint64) bool {
	switch {
	case seq > o.top:
		return true
	case o.seen == nil || seq+windowSize <= o.top:
		return seq > o.base
	default:
		return o.seen[seq%windowSize/64]&(1<<(seq%64)) == 0
	}
}

// take marks seq as arrived.
func (o *origin) take(seq uint64, now time.Time) {
	if seq == o.base+1 && o.base == o.top { // in order, the usual case
		o.base, o.top = seq, seq
		if o.seen != nil {
			o.seen[seq%windowSize/64] |= 1 << (seq % 64)
		}
		return
	}
	o.raise(seq)
	if seq+windowSize > o.top {
		o.seen[seq%windowSize/64] |= 1 << (seq % 64)
	}
	o.settle(now)
}

// raise moves top up to seq, which may leave a gap. Without a window everything
// up to top has arrived.
func (o *origin) raise(seq uint64) {
	if o.seen == nil {
		o.seen = make([]uint64, windowSize/64)
		for i := range o.seen {
			o.seen[i] = ^uint64(0)
		}
	}
	if seq <= o.top {
		return
	}
	if seq-o.top >= windowSize {
		clear(o.seen)
	} else {
		for s := o.top + 1; s <= seq; s++ {
			o.seen[s%windowSize/64] &^= 1 << (s % 64)
		}
	}
	o.top = seq
}

// settle moves base over what is known, and notes whether a gap is left.
func (o *origin) settle(now time.Time) {
	for o.base < o.top {
		s := o.base + 1
		if s+windowSize <= o.top || o.seen[s%windowSize/64]&(1<<(s%64)) == 0 {
			break
		}
		o.base = s
	}
	switch {
	case o.base == o.top:
		o.gapSince = time.Time{}
	case o.gapSince.IsZero():
		o.gapSince = now
	}
}

// announce takes in that the origin has sent everything up to high. It tells
// whether there is a gap.
func (os *origins) announce(id []byte, high uint64) bool {
	now := time.Now()
	os.mu.Lock()
	defer os.mu.Unlock()
	o := os.get(id, now)
	o.heard = true
	o.said = Said{What: "beat", At: now}
	if high > o.top {
		o.raise(high)
		o.settle(now)
	}
	return !o.gapSince.IsZero()
}

// cover takes in that everything the vector tells of is repaired.
func (os *origins) cover(vector []mark) {
	now := time.Now()
	os.mu.Lock()
	defer os.mu.Unlock()
	for _, m := range vector {
		o := os.get([]byte(m.origin), now)
		if m.seq <= o.base {
			continue
		}
		o.raise(m.seq)
		o.base = m.seq
		o.settle(now)
	}
}

// mark is how far an origin's updates are taken in.
type mark struct {
	origin string
	seq    uint64
}

// vector returns how far every origin's updates are taken in without a gap.
func (os *origins) vector() []wire.Mark {
	os.mu.Lock()
	defer os.mu.Unlock()
	v := make([]wire.Mark, 0, len(os.all)+1)
	for id, o := range os.all {
		if o.base > 0 {
			v = append(v, wire.Mark{Origin: []byte(id), Seq: o.base})
		}
	}
	return v
}

// gaps lists the origins whose gap is older than gapDelay, and how long until
// the next one is; 0 means there is none.
func (os *origins) gaps(now time.Time) (due []string, next time.Duration) {
	os.mu.Lock()
	defer os.mu.Unlock()
	for id, o := range os.all {
		if o.gapSince.IsZero() {
			continue
		}
		if left := gapDelay - now.Sub(o.gapSince); left <= 0 {
			due = append(due, id)
		} else if next == 0 || left < next {
			next = left
		}
	}
	return due, next
}

// takeHeard tells whether anything of the origin arrived since the last call.
func (os *origins) takeHeard(id string) bool {
	os.mu.Lock()
	defer os.mu.Unlock()
	o := os.all[id]
	if o == nil || !o.heard {
		return false
	}
	o.heard = false
	return true
}

// forget drops an origin that has left for good.
func (os *origins) forget(id string) {
	os.mu.Lock()
	defer os.mu.Unlock()
	delete(os.all, id)
}
