package backend_test

import (
	"encoding/binary"
	"errors"
	"iter"
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// numbers is a state that has nearly no memory of its own: of entries of one size it
// keeps one bit each.
type numbers struct {
	size int

	mu   sync.Mutex
	bits []uint64
	have int
}

func newNumbers(room, count, size int) *numbers {
	s := &numbers{size: size, bits: make([]uint64, (room+63)/64)}
	for i := range count {
		s.put(uint64(i))
	}
	return s
}

func (s *numbers) put(n uint64) {
	if s.bits[n/64]&(1<<(n%64)) == 0 {
		s.bits[n/64] |= 1 << (n % 64)
		s.have++
	}
}

func (s *numbers) MarshalBinary() ([]byte, error) { return nil, errors.New("it is taken apart") }

func (s *numbers) Merge(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(binary.LittleEndian.Uint64(b))
	return nil
}

func (s *numbers) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for n := range uint64(64 * len(s.bits)) {
			var id backend.EntryID
			binary.LittleEndian.PutUint64(id[:], n)
			if s.bits[n/64]&(1<<(n%64)) != 0 && !yield(id) {
				return
			}
		}
	}
}

func (s *numbers) Entry(id backend.EntryID) ([]byte, error) {
	return append(id[:8:8], make([]byte, s.size-8)...), nil
}

func (s *numbers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have
}

// liveHeap is how much of the heap is reachable, by a collection that is made for it.
func liveHeap() int {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}

// A state of 50 MB passes from one node to another in pieces: besides their ids, the two
// together hold what is in flight, 8 MiB on either side at most, and not the state.
func TestAJoinHoldsPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a second or two")
	}
	const entries, size, idBytes = 12_500, 4_000, 36 // a view of one, and those that the other one collects
	postage.Store(new(stamps))
	bus := memory.NewBus()
	defer bus.Remove()
	add := func(name string, s *numbers) backend.ClusterChannel {
		c := open(t, bus, name, func(c *backend.Config) { c.Backend = "letters" })
		if _, err := c.AddState("s", s, nil); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := add("a", newNumbers(entries, entries, size)).WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	joiner := newNumbers(entries, 0, size)
	before, most, looks := liveHeap(), 0, 0
	add("b", joiner)
	for deadline := time.Now().Add(time.Minute); joiner.count() < entries; looks++ {
		if most = max(most, liveHeap()-before); time.Now().After(deadline) {
			t.Fatalf("%d of %d entries after a minute", joiner.count(), entries)
		}
	}
	most = max(most, liveHeap()-before)
	t.Logf("%d bytes at most, in %d looks", most, looks)
	if limit := entries*idBytes + 2*8<<20; most > limit {
		t.Errorf("a join with %d bytes held %d, want at most %d: ids, and 8 MiB in flight on either side", entries*size, most, limit)
	}
}
