package backend

import (
	"bytes"
	"math/bits"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// maxProbe is the size up to which a marshalled state is looked at twice.
const maxProbe = 1 << 20

// digest is what a state is compared by.
type digest struct {
	sum   uint64
	known bool   // a state that marshals differently each time has none
	data  []byte // the marshalled state, where it was made; then it is not nil
}

// digestOf returns the digest of the whole state, and its data where that was made on
// the way, or is wanted.
func (st *state) digestOf(data bool) (d digest, err error) {
	own, ok := st.s.(Digester)
	switch {
	case ok:
		err = contain(func() (err error) { d.sum, err = own.Digest(); return err })
		if err != nil {
			st.failed("digest", "the digest of a state cannot be told", err)
			return d, err
		}
		d.known = true
	case st.entries.of != nil:
		t, err := st.tally()
		if err != nil {
			return d, err
		}
		d.sum, d.known, ok = t.digest, true, true
	}
	if !ok || data {
		if d.data, err = st.marshal(); err != nil {
			return d, err
		}
	}
	if !ok {
		d.sum = xxhash.Sum64(d.data)
		d.known = st.stable.holds(d.data, st.marshalAgain)
	}
	if d.known && !st.entries.tallied().told { // people compare one kind
		st.seen.digested(d.sum)
	}
	return d, nil
}

// stability knows whether a state marshals the same content the same way. It looks
// once in a while.
type stability struct {
	mu       sync.Mutex
	count    uint32
	unstable bool
}

// holds reports whether b, which was just marshalled, can be compared by its
// bytes.
func (s *stability) holds(b []byte, again func() ([]byte, error)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if bits.OnesCount32(s.count) == 1 && len(b) <= maxProbe { // the 1st, 2nd, 4th, …
		s.unstable = differs(b, again)
	}
	return !s.unstable
}

// differs marshals a state some more times. One that is being changed differs
// too, but not each time.
func differs(b []byte, again func() ([]byte, error)) bool {
	for range 3 {
		next, err := again()
		if err != nil || bytes.Equal(b, next) {
			return false
		}
		b = next
	}
	return true
}
