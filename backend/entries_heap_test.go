package backend_test

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	n := binary.LittleEndian.Uint64(b)
	if len(b) != s.size || binary.LittleEndian.Uint64(b[s.size-8:]) != ^n {
		return fmt.Errorf("entry %d is broken", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(n)
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
	b := make([]byte, s.size)
	copy(b, id[:8])
	binary.LittleEndian.PutUint64(b[s.size-8:], ^binary.LittleEndian.Uint64(id[:]))
	return b, nil
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

// joins opens a node that has a state, and returns what opens another one.
func joins(t *testing.T, has, joiner *numbers) (join func()) {
	postage.Store(new(stamps))
	bus := memory.NewBus()
	t.Cleanup(bus.Remove)
	add := func(name string, s *numbers) backend.ClusterChannel {
		c := open(t, bus, name, func(c *backend.Config) { c.Backend = "letters" })
		if _, err := c.AddState("s", s, nil); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := add("a", has).WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() { add("b", joiner) }
}

// A state of 50 MB is allocated twice as it passes from one node to another: where its
// entries are made, and by the driver of this test, which copies what it sends. What is encoded
// and what arrives is in buffers that are used again, and each entry is whole in them.
func TestAJoinAllocatesNoCopies(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a second or two")
	}
	const entries, size, idBytes = 250_000, 200, 100 // a view, those that are collected, and where entries are in pieces
	joiner := newNumbers(entries, 0, size)
	join := joins(t, newNumbers(entries, entries, size), joiner)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	join()
	for deadline := time.Now().Add(time.Minute); joiner.count() < entries; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d entries after a minute", joiner.count(), entries)
		}
	}
	runtime.ReadMemStats(&after)
	allocated := int(after.TotalAlloc - before.TotalAlloc)
	t.Logf("%d bytes", allocated)
	if limit := entries*(2*(size+8)+idBytes) + 16<<20; allocated > limit {
		t.Errorf("a join with %d bytes allocated %d, want at most %d", entries*size, allocated, limit)
	}
}

// A state of 50 MB passes from one node to another in pieces: besides their ids, the two
// together hold what is in flight, 8 MiB on either side at most, and not the state.
func TestAJoinHoldsPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a second or two")
	}
	const entries, size, idBytes = 12_500, 4_000, 36 // a view of one, and those that the other one collects
	joiner := newNumbers(entries, 0, size)
	join := joins(t, newNumbers(entries, entries, size), joiner)
	before, most, looks := liveHeap(), 0, 0
	join()
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
