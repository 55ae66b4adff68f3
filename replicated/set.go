package replicated

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Set is a set that all nodes have, in which an addition wins: an element that one node
// adds while another one removes it stays, since a removal is of what its node has seen.
// Its methods may be called from many goroutines at once. Make one by NewSet.
//
// It takes an entry for an element, or one for each node that has added it before it
// knew of the others. The encoding of an element has at most 65,527 bytes.
// What is said of deletions, of Options and of errors for a Map holds here too.
type Set[T comparable] struct {
	*replica
	elements codec[T]
	slot     string
	added    map[string]map[string]struct{} // the slots by which an element is there; guarded by mu
}

// NewSet returns an empty set. Nil options mean the defaults; bad ones are an error that
// wraps backend.ErrConfig.
func NewSet[T comparable](o *Options) (*Set[T], error) {
	f, err := o.filled()
	if err != nil {
		return nil, err
	}
	s := &Set[T]{slot: newSlot(), added: map[string]map[string]struct{}{}}
	if s.elements, err = codecOf[T]("element", f.Key); err != nil {
		return nil, err
	}
	s.replica = newReplica(fmt.Sprintf("set of %v", reflect.TypeFor[T]()), f, func(e entry) error {
		if len(e.key) < slotSize || e.form == expiring || e.value != "" {
			return fmt.Errorf("%w: it is no element", ErrMalformed)
		}
		_, err := s.elements.decode(elementOf(e.key))
		return err
	})
	s.turned = s.note
	s.called = func(key string) string { return quoted(key[:max(len(key)-slotSize, 0)]) }
	return s, nil
}

// elementOf returns the element that an entry's key is of.
func elementOf(key string) string { return key[:len(key)-slotSize] }

// note notes that an element is there by a key, or not. mu is held.
func (s *Set[T]) note(key string, live bool) {
	element := elementOf(key)
	slots := s.added[element]
	switch {
	case live && slots == nil:
		s.added[element] = map[string]struct{}{key: {}}
	case live:
		slots[key] = struct{}{}
	default:
		if delete(slots, key); len(slots) == 0 {
			delete(s.added, element)
		}
	}
}

// Add adds an element, and tells the others. The error is that of Map.Set.
func (s *Set[T]) Add(element T) error {
	encoded, err := s.encode(element)
	if err != nil {
		return err
	}
	return s.write(func(t *table, c *clock) ([]entry, error) {
		by := encoded + s.slot
		if there := slices.Sorted(maps.Keys(s.added[encoded])); len(there) > 0 {
			by = there[0] // it is renewed, whoever has added it
		}
		before, _, _ := t.get(by)
		return append([]entry{{stamp: c.next(before.stamp), form: lasting, key: by}}, s.removed(t, c, encoded, by)...), nil
	})
}

// Remove removes an element, and tells the others. One that this node does not have is
// left as it is. The error is that of Map.Set.
func (s *Set[T]) Remove(element T) error {
	encoded, err := s.encode(element)
	if err != nil {
		return err
	}
	return s.write(func(t *table, c *clock) ([]entry, error) { return s.removed(t, c, encoded, ""), nil })
}

// removed returns the entries that remove all by which an element is there, but one. Each
// is no later than the next addition by the same slot, which wins over it.
func (s *Set[T]) removed(t *table, c *clock, element, but string) (all []entry) {
	for _, key := range slices.Sorted(maps.Keys(s.added[element])) {
		if key != but {
			before, _, _ := t.get(key)
			all = append(all, s.deleted(c, key, before.stamp+1))
		}
	}
	return all
}

func (s *Set[T]) encode(element T) (string, error) {
	if err := s.made(); err != nil {
		return "", err
	}
	encoded, err := encodeKey(s.elements, element)
	if err == nil && len(encoded) > maxKey-slotSize {
		return "", fmt.Errorf("%w: element %s has %d bytes, want at most %d", ErrCodec, shown(element), len(encoded), maxKey-slotSize)
	}
	return encoded, err
}

// Has reports whether an element is there.
func (s *Set[T]) Has(element T) bool {
	encoded, err := s.elements.encode(element)
	return err == nil && s.has(encoded)
}

func (s *Set[T]) has(encoded string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.added[encoded]) > 0
}

// Len returns how many elements there are, as Map.Len.
func (s *Set[T]) Len() int {
	if s.replica == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.added)
}

// All yields the elements, in no order: all that are there when it begins.
func (s *Set[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		if s.replica == nil {
			return
		}
		s.mu.Lock()
		encoded := slices.Collect(maps.Keys(s.added))
		s.mu.Unlock()
		for _, e := range encoded {
			if element, err := s.elements.decode(e); err == nil && !yield(element) {
				return
			}
		}
	}
}

// Watch yields each element that is there, and then every one that is added or removed,
// as Map.Watch does. It may yield again that an element is there, or is not.
func (s *Set[T]) Watch(ctx context.Context) iter.Seq[Change[T, struct{}]] {
	return func(yield func(Change[T, struct{}]) bool) {
		for c := range s.watch(ctx) {
			shown := Change[T, struct{}]{Restart: c.again}
			if !c.again {
				var err error
				if shown.Key, err = s.elements.decode(elementOf(c.key)); err != nil {
					continue
				}
				shown.Deleted = !s.has(elementOf(c.key))
			}
			if !yield(shown) {
				return
			}
		}
	}
}

var _ backend.EntryState = (*Set[string])(nil)
