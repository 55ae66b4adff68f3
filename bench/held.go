package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"iter"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// thin is a state of entries that are made when they are asked for: it has a bit for each,
// so that what a join holds is not its own.
type thin struct {
	mu   sync.Mutex
	bits []uint64
	have int
}

func newThin(room, count int) *thin {
	s := &thin{bits: make([]uint64, (room+63)/64)}
	for id := range uint64(count) {
		s.put(id)
	}
	return s
}

func (s *thin) put(id uint64) {
	if id/64 < uint64(len(s.bits)) && s.bits[id/64]&(1<<(id%64)) == 0 {
		s.bits[id/64] |= 1 << (id % 64)
		s.have++
	}
}

// all yields the numbers of the entries.
func (s *thin) all(yield func(uint64) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range uint64(64 * len(s.bits)) {
		if s.bits[id/64]&(1<<(id%64)) != 0 && !yield(id) {
			return
		}
	}
}

func (s *thin) MarshalBinary() ([]byte, error) {
	all := make([]byte, 0, s.count()*entrySize)
	for id := range s.all {
		all = append(all, record(id, entrySize-4)...)
	}
	return all, nil
}

// Digest makes thin a backend.Digester.
func (s *thin) Digest() (sum uint64, err error) {
	for id := range s.all {
		sum += (id + 1) * 0x9e3779b97f4a7c15
	}
	return sum, nil
}

func (s *thin) Merge(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; len(b) >= entrySize; b = b[entrySize:] {
		s.put(binary.LittleEndian.Uint64(b[4:]))
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes are no entry", len(b))
	}
	return nil
}

func (s *thin) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have
}

// thinApart is a thin state that can be taken apart.
type thinApart struct{ *thin }

// EntryIDs implements backend.EntryState.
func (s thinApart) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		for n := range s.all {
			var id backend.EntryID
			binary.LittleEndian.PutUint64(id[:], n)
			if !yield(id) {
				return
			}
		}
	}
}

// Entry implements backend.EntryState.
func (s thinApart) Entry(id backend.EntryID) ([]byte, error) {
	return record(binary.LittleEndian.Uint64(id[:]), entrySize-4), nil
}

// liveHeap is how much of the heap is reachable, by a collection that is made for it.
func liveHeap() float64 {
	runtime.GC()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return float64(live[0].Value.Uint64())
}

// held measures how much more the process holds while one node gives all to another than
// before, with states that hold nothing.
func (r repair) held(ctx context.Context, t task) (e effort, err error) {
	var newest *thin
	room := r.Entries
	m := &seats{
		place: t.Place, cluster: "bench-" + rand.Text()[:8], stateOf: newStore,
		share: func(*store) backend.State {
			newest = newThin(r.Entries, room)
			room = 0 // who joins has none
			if r.Way == entryWise {
				return thinApart{newest}
			}
			return newest
		},
	}
	defer m.close()
	if _, err := m.add(); err != nil {
		return e, err
	}
	if err := rest(ctx, exchangeSettle); err != nil {
		return e, err
	}
	before := liveHeap()
	start := time.Now()
	if _, err := m.add(); err != nil {
		return e, err
	}
	for e.Late = true; e.Late && time.Since(start) < exchangePatience && ctx.Err() == nil; {
		e.Late = newest.count() < r.Entries
		e.Held = max(e.Held, liveHeap()-before)
	}
	e.Took = time.Since(start)
	return e, ctx.Err()
}
