package conformance

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/clusterchannel/clusterchannel/backend"
)

// entrySet is a set that can be taken apart. An entry never changes, so its key stands
// for what it says.
type entrySet struct {
	*set
	backwards bool // tells its entries from the last one on
	lies      int  // so many entries it tells besides, which it cannot give

	given atomic.Int64 // calls of Entry
	keys  sync.Map     // of the ids that were told

	gate chan struct{} // Merge waits until it is closed, once the set is so large; nil: it does not
	at   int
}

func (n *node) newEntries() *entrySet { return &entrySet{set: n.newSet()} }

// holdMergeAt makes Merge wait once the set has so many entries, until release is called.
// It is called before the set is joined.
func (s *entrySet) holdMergeAt(count int) (release func()) {
	s.gate, s.at = make(chan struct{}), count
	return sync.OnceFunc(func() { close(s.gate) })
}

// lie is what nobody can merge.
const lie = "no entry"

// Merge implements backend.State.
func (s *entrySet) Merge(b []byte) error {
	if string(b) == lie {
		return errDamaged // but not on its way
	}
	if s.gate != nil && s.len() >= s.at {
		s.held.Add(1)
		<-s.gate
	}
	return s.set.Merge(b)
}

// sorted returns the keys of the entries in the set's order.
func (s *entrySet) sorted() []string {
	keys := slices.Sorted(maps.Keys(s.snapshot()))
	if s.backwards {
		slices.Reverse(keys)
	}
	return keys
}

// MarshalBinary implements backend.State.
func (s *entrySet) MarshalBinary() ([]byte, error) {
	all := s.snapshot()
	var b []byte
	for _, key := range s.sorted() {
		b = appendEntry(b, key, all[key])
	}
	return b, nil
}

// EntryIDs implements backend.EntryState.
func (s *entrySet) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		for range s.lies {
			if !yield(backend.EntryID(random(16))) {
				return
			}
		}
		for _, key := range s.sorted() {
			id := backend.EntryIDOf([]byte(key))
			s.keys.Store(id, key)
			if !yield(id) {
				return
			}
		}
	}
}

// Entry implements backend.EntryState. For every other lie it gives something that
// nobody can merge.
func (s *entrySet) Entry(id backend.EntryID) ([]byte, error) {
	s.given.Add(1)
	key, ok := s.keys.Load(id)
	if !ok {
		if s.lies > 0 && id[0]%2 == 0 {
			return []byte(lie), nil
		}
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.entries[key.(string)]
	if !ok {
		return nil, nil
	}
	return appendEntry(nil, key.(string), data), nil
}

var _ backend.EntryState = (*entrySet)(nil)
