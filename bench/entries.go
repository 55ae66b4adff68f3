package main

import (
	"encoding/binary"
	"iter"
	"maps"

	"github.com/clusterchannel/clusterchannel/backend"
)

// entrySize is what one entry of a state that is exchanged has, in bytes, its length
// included.
const entrySize = 204

// apart is a store that can be taken apart.
type apart struct{ *store }

// EntryIDs implements backend.EntryState. The store is locked until it ends.
func (s apart) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for n := range s.have {
			var id backend.EntryID
			binary.LittleEndian.PutUint64(id[:], n)
			if !yield(id) {
				return
			}
		}
	}
}

// Entry implements backend.EntryState.
func (s apart) Entry(id backend.EntryID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.have[binary.LittleEndian.Uint64(id[:])]
	if !ok {
		return nil, nil
	}
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(k.data)), uint32(len(k.data)))
	return append(b, k.data...), nil
}

// byEntry shares a store entry by entry, and whole as one that cannot be taken apart.
func byEntry(s *store) backend.State { return apart{s} }
func whole(s *store) backend.State   { return s }

// full returns a store of so many entries.
func full(entries int) *store {
	s := newStore()
	s.add(0, entries)
	return s
}

// add adds entries whose numbers begin with first.
func (s *store) add(first uint64, count int) {
	for id := first; id < first+uint64(count); id++ {
		b := record(id, entrySize-4)
		s.put(b[4:])
	}
}

// copy returns a store with the same entries.
func (s *store) copy() *store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &store{have: maps.Clone(s.have)}
}
