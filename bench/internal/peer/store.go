package peer

import (
	"encoding/binary"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/cluster"
)

// Store is a state of records: a number, when it was written, and bytes. It knows when
// each arrived.
type Store struct {
	keep uint64 // how many of the newest numbers it has the records of; 0: of all
	pass func([]byte)

	mu      sync.Mutex
	have    map[uint64][]byte
	newest  uint64
	arrived map[uint64]time.Duration // after it was written
}

const head = 20 // size, number, time

func record(id uint64, size int) []byte {
	b := make([]byte, size)
	binary.LittleEndian.PutUint32(b, uint32(size))
	binary.LittleEndian.PutUint64(b[4:], id)
	binary.LittleEndian.PutUint64(b[12:], uint64(time.Now().UnixNano()))
	for i := head; i < size; i++ {
		b[i] = byte(uint64(i) * (id + 7) >> 3)
	}
	return b
}

// MarshalBinary returns the records.
func (s *Store) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	for _, r := range s.have {
		size += len(r)
	}
	b := make([]byte, 0, size)
	for _, r := range s.have {
		b = append(b, r...)
	}
	return b, nil
}

// Digest makes it a backend.Digester.
func (s *Store) Digest() (sum uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.have {
		sum += (id + 1) * 0x9e3779b97f4a7c15
	}
	return sum, nil
}

// Merge keeps the records that are new, and passes them on if gossip may.
func (s *Store) Merge(b []byte) error {
	pass := s.pass
	if cluster.OversizedMessage(b) {
		pass = nil
	}
	for len(b) >= head {
		n := int(binary.LittleEndian.Uint32(b))
		if n < head || n > len(b) {
			return fmt.Errorf("a record of %d bytes", n)
		}
		if s.put(b[:n]) && pass != nil {
			pass(b[:n])
		}
		b = b[n:]
	}
	return nil
}

// put reports whether the record is new.
func (s *Store) put(b []byte) bool {
	id, written := binary.LittleEndian.Uint64(b[4:]), time.Unix(0, int64(binary.LittleEndian.Uint64(b[12:])))
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.arrived[id]; known {
		return false
	}
	s.arrived[id] = time.Since(written)
	if s.keep == 0 || id+s.keep > s.newest {
		s.have[id] = append([]byte(nil), b...)
	}
	for ; s.keep > 0 && s.newest < id; s.newest++ {
		delete(s.have, s.newest+1-s.keep)
	}
	return true
}

// Put writes a record of some bytes, and tells nobody.
func (s *Store) Put(id uint64, size int) { s.put(record(id, size)) }

// Say writes a record of some bytes, and tells the others.
func (s *Store) Say(id uint64, size int) {
	b := record(id, size)
	s.put(b)
	s.pass(b)
}

// Arrivals returns how long after it was written each record arrived.
func (s *Store) Arrivals() map[uint64]time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.arrived)
}

// Arrival returns that of one record.
func (s *Store) Arrival(id uint64) (after time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	after, ok = s.arrived[id]
	return after, ok
}

// Count returns how many records have arrived.
func (s *Store) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.arrived)
}
