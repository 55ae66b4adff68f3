//go:build !race

package conformance

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"sync/atomic"

	"github.com/clusterchannel/clusterchannel/backend"
)

// bentEntries is a state that can be taken apart, in the hands of a mutant.
type bentEntries struct{ backend.EntryState }

// apart opens a channel that alters the states that can be taken apart.
func apart(alter func(bentEntries) backend.State) func(context.Context, backend.Config) (backend.ClusterChannel, error) {
	return decorated(func(c *bentChannel) { c.apart = alter })
}

// inOrder has other ids for entries that are told in another order.
type inOrder struct{ bentEntries }

func (s inOrder) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		n := uint64(0)
		for id := range s.bentEntries.EntryIDs() {
			n++
			if !yield(backend.EntryIDOf(binary.BigEndian.AppendUint64(id[:], n))) {
				return
			}
		}
	}
}

// smallOnly gives no large entry.
type smallOnly struct{ bentEntries }

func (s smallOnly) Entry(id backend.EntryID) ([]byte, error) {
	b, err := s.bentEntries.Entry(id)
	if len(b) > 1<<20 {
		return nil, err
	}
	return b, err
}

// forgetful tells no entries until it has all, as who has to get all from one source.
type forgetful struct{ bentEntries }

func (s forgetful) EntryIDs() iter.Seq[backend.EntryID] {
	all := s.EntryState.(*entrySet)
	if all.gate != nil && all.len() < 2*all.at {
		return func(func(backend.EntryID) bool) {}
	}
	return s.bentEntries.EntryIDs()
}

// generous gives all that it has for an entry that it does not have.
type generous struct{ bentEntries }

func (s generous) Entry(id backend.EntryID) ([]byte, error) {
	if _, known := s.EntryState.(*entrySet).keys.Load(id); !known {
		return s.MarshalBinary()
	}
	return s.bentEntries.Entry(id)
}

// offended merges nothing any more once it was given what cannot be merged.
type offended struct {
	bentEntries
	ended atomic.Bool
}

func (s *offended) Merge(b []byte) error {
	if s.ended.Load() {
		return errors.New("no more")
	}
	err := s.bentEntries.Merge(b)
	s.ended.Store(err != nil)
	return err
}
