package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/prometheus/alertmanager/cluster"
)

// store is a state: every payload by its number. If told to, it passes on
// payloads that are new, as Alertmanager's own states do: Alertmanager's gossip
// depends on that.
type store struct {
	pass  atomic.Pointer[func([]byte)] // nil: nowhere
	light bool                         // keep numbers and times alone

	mu   sync.Mutex
	have map[uint64]kept
	last time.Time // when the latest new one arrived
}

type kept struct {
	data []byte
	at   time.Time
}

func newStore() *store { return &store{have: map[uint64]kept{}} }

// newCounter returns a store that keeps no payload but its number.
func newCounter() *store { return &store{have: map[uint64]kept{}, light: true} }

// mergeText is Merge for a client that hands over texts. It copies one only to
// keep it.
func (s *store) mergeText(text string) error {
	if s.light {
		return s.Merge(unsafe.Slice(unsafe.StringData(text), len(text)))
	}
	return s.Merge([]byte(text))
}

// put reports whether the payload is new.
func (s *store) put(b []byte) bool {
	now := time.Now()
	id := binary.LittleEndian.Uint64(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.have[id]; ok {
		return false
	}
	if s.light {
		b = b[:8]
	}
	s.have[id] = kept{slices.Clone(b), now}
	s.last = now
	return true
}

func (s *store) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []byte
	for _, k := range s.have {
		all = binary.LittleEndian.AppendUint32(all, uint32(len(k.data)))
		all = append(all, k.data...)
	}
	return all, nil
}

// Digest makes store a backend.Digester.
func (s *store) Digest() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum uint64
	for id := range s.have {
		sum += (id + 1) * 0x9e3779b97f4a7c15
	}
	return sum, nil
}

func (s *store) Merge(b []byte) error {
	var pass func([]byte)
	if p := s.pass.Load(); p != nil && !cluster.OversizedMessage(b) {
		pass = *p
	}
	for len(b) >= 4 {
		n := int(binary.LittleEndian.Uint32(b))
		if n < 8 || n > len(b)-4 {
			return fmt.Errorf("a record of %d bytes", n)
		}
		if s.put(b[4:4+n]) && pass != nil {
			pass(b[:4+n])
		}
		b = b[4+n:]
	}
	return nil
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.have)
}

func (s *store) at(id uint64) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.have[id]
	return k.at, ok
}

func (s *store) latest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *store) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.have, id)
}

// record is one payload in the form of a store's update.
func record(id uint64, size int) []byte {
	b := make([]byte, 4+size)
	binary.LittleEndian.PutUint32(b, uint32(size))
	binary.LittleEndian.PutUint64(b[4:], id)
	for i := 12; i < len(b); i++ {
		b[i] = byte(uint64(i) * (id + 7) >> 3)
	}
	return b
}

// all reports whether every store but the first has the payload, and since
// when.
func all(stores []*store, id uint64) (time.Time, bool) {
	var last time.Time
	for _, s := range stores[1:] {
		at, ok := s.at(id)
		if !ok {
			return last, false
		}
		if at.After(last) {
			last = at
		}
	}
	return last, true
}

// missing is how many payloads of the first store the worst other store lacks.
func missing(stores []*store) (most int) {
	for _, s := range stores[1:] {
		most = max(most, stores[0].count()-s.count())
	}
	return most
}
