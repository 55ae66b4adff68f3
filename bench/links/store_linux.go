package main

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/cluster"
)

// store is a state of records: a number, when it was written, and bytes. It keeps
// the latest, and when each arrived.
type store struct {
	pass func([]byte)

	mu      sync.Mutex
	have    map[uint64][]byte
	newest  uint64
	arrived map[uint64]time.Duration // after it was written
}

const (
	headBytes = 20 // size, number, time
	kept      = 1000
)

func newStore() *store {
	return &store{have: map[uint64][]byte{}, arrived: map[uint64]time.Duration{}}
}

func record(id uint64, size int) []byte {
	b := make([]byte, size)
	binary.LittleEndian.PutUint32(b, uint32(size))
	binary.LittleEndian.PutUint64(b[4:], id)
	binary.LittleEndian.PutUint64(b[12:], uint64(time.Now().UnixNano()))
	for i := headBytes; i < size; i++ {
		b[i] = byte(uint64(i) * (id + 7) >> 3)
	}
	return b
}

func (s *store) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	for _, r := range s.have {
		b = append(b, r...)
	}
	return b, nil
}

// Digest makes store a backend.Digester.
func (s *store) Digest() (sum uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.have {
		sum += (id + 1) * 0x9e3779b97f4a7c15
	}
	return sum, nil
}

func (s *store) Merge(b []byte) error {
	pass := s.pass
	if cluster.OversizedMessage(b) {
		pass = nil
	}
	for len(b) >= headBytes {
		n := int(binary.LittleEndian.Uint32(b))
		if n < headBytes || n > len(b) {
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
func (s *store) put(b []byte) bool {
	id, written := binary.LittleEndian.Uint64(b[4:]), time.Unix(0, int64(binary.LittleEndian.Uint64(b[12:])))
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.arrived[id]; known {
		return false
	}
	s.arrived[id] = time.Since(written)
	if id+kept > s.newest {
		s.have[id] = append([]byte(nil), b...)
	}
	for ; s.newest < id; s.newest++ {
		delete(s.have, s.newest+1-kept)
	}
	return true
}

// say writes a record, and tells the others.
func (s *store) say(id uint64) {
	b := record(id, payload)
	s.put(b)
	s.pass(b)
}

func (s *store) arrivals() map[uint64]time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[uint64]time.Duration, len(s.arrived))
	for id, after := range s.arrived {
		all[id] = after
	}
	return all
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.arrived)
}
