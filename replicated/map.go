package replicated

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Map is a map that all nodes have, in which the last writer of a key wins. Its methods
// may be called from many goroutines at once. Make one by NewMap: what writes to a zero
// Map is backend.ErrConfig.
//
// It works before it is attached, and while the node is detached: what is written then
// reaches the others later. What Get, All and Watch return is decoded anew, and the
// caller's.
type Map[K comparable, V any] struct {
	*replica
	keys   codec[K]
	values codec[V]
}

// NewMap returns an empty map. Nil options mean the defaults; bad ones are an error that
// wraps backend.ErrConfig.
func NewMap[K comparable, V any](o *Options) (*Map[K, V], error) {
	f, err := o.filled()
	if err != nil {
		return nil, err
	}
	m := &Map[K, V]{}
	if m.keys, err = codecOf[K]("key", f.Key); err != nil {
		return nil, err
	}
	if m.values, err = codecOf[V]("value", f.Value); err != nil {
		return nil, err
	}
	kind := fmt.Sprintf("map[%v]%v", reflect.TypeFor[K](), reflect.TypeFor[V]())
	m.replica = newReplica(kind, f, func(e entry) error {
		if _, err := m.keys.decode(e.key); err != nil || e.form == dead {
			return err
		}
		_, err := m.values.decode(e.value)
		return err
	})
	return m, nil
}

// Set sets the value of a key, in place of all that this node has seen of it, and tells
// the others. A nil error means that this node has it: what cannot be sent reaches them
// by the exchange of states.
//
// The error wraps ErrCodec if the key or the value cannot be encoded and decoded again,
// ErrFull if there is no room, backend.ErrTooLarge if it is above what the node sends
// (max_payload), and backend.ErrClosed after Close, or that of its node. Then nothing has
// changed.
func (m *Map[K, V]) Set(key K, value V) error { return m.set(key, value, 0) }

// SetTTL is Set for a time, which is at least 1ms: when that has passed, by the clocks
// of the members, the key is deleted on all. It is counted from this call.
func (m *Map[K, V]) SetTTL(key K, value V, ttl time.Duration) error {
	if ttl < time.Millisecond {
		return fmt.Errorf("%w: a time to live of %v, want at least 1ms", backend.ErrConfig, ttl)
	}
	return m.set(key, value, ttl)
}

func (m *Map[K, V]) set(key K, value V, ttl time.Duration) error {
	if err := m.made(); err != nil {
		return err
	}
	k, err := encodeKey(m.keys, key)
	if err != nil {
		return err
	}
	v, err := m.values.encodeValue(value)
	if err != nil {
		return fmt.Errorf("%s: %w", shown(key), err)
	}
	return m.write(func(t *table, c *clock) ([]entry, error) {
		return []entry{m.written(t, c, k, v, ttl)}, nil
	})
}

// Delete deletes a key. One that this node does not have is left as it is. The error is
// that of Set.
func (m *Map[K, V]) Delete(key K) error {
	if err := m.made(); err != nil {
		return err
	}
	k, err := encodeKey(m.keys, key)
	if err != nil {
		return err
	}
	return m.write(func(t *table, c *clock) ([]entry, error) {
		before, live, _ := t.get(k)
		if !live {
			return nil, nil
		}
		return []entry{m.deleted(c, k, c.next(before.stamp))}, nil
	})
}

// Get returns the value of a key, and whether it has one.
func (m *Map[K, V]) Get(key K) (value V, ok bool) {
	k, err := m.keys.encode(key)
	if err != nil {
		return value, false
	}
	e, live := m.held(k)
	if !live {
		return value, false
	}
	value, err = m.values.decode(e.value)
	return value, err == nil
}

// Len returns how many keys have a value, those too that Get, All and Watch do not show,
// since their codec decodes them no more.
func (m *Map[K, V]) Len() int { return m.size() }

// All yields the keys and values that are there, in no order. What changes meanwhile may
// be missed.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		m.showAll(context.Background(), func(c change) bool {
			shown, ok := m.shown(c)
			return !ok || yield(shown.Key, shown.Value)
		})
	}
}

// Change is what Watch yields.
type Change[K comparable, V any] struct {
	Key     K
	Value   V
	Deleted bool // or expired: there is no value

	// Restart says that more has changed than is kept for a slow reader, who should
	// forget what it was told: all that is there follows. The other fields are zero.
	Restart bool
}

// Watch yields each key that has a value, and then every key that changes, by this node
// or another, until ctx is done or the map is closed. A slow reader sees the latest
// change of a key and not those before it; it delays nobody, and at most twice
// Options.MaxEntries keys wait for it: see Change.Restart.
func (m *Map[K, V]) Watch(ctx context.Context) iter.Seq[Change[K, V]] {
	return func(yield func(Change[K, V]) bool) {
		for c := range m.watch(ctx) {
			if shown, ok := m.shown(c); ok && !yield(shown) {
				return
			}
		}
	}
}

// shown decodes a change. What does not decode, though it once did, is shown to nobody.
func (m *Map[K, V]) shown(c change) (Change[K, V], bool) {
	shown := Change[K, V]{Deleted: !c.live && !c.again, Restart: c.again}
	if c.again {
		return shown, true
	}
	var err error
	if shown.Key, err = m.keys.decode(c.key); err == nil && c.live {
		shown.Value, err = m.values.decode(c.value)
	}
	return shown, err == nil
}

var _ backend.EntryState = (*Map[string, int])(nil)
