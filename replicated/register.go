package replicated

import (
	"context"
	"fmt"
	"iter"
	"reflect"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Register is one value that all nodes have: a Map of one key. Its methods may be called
// from many goroutines at once. Make one by NewRegister.
type Register[V any] struct {
	*replica
	values codec[V]
}

// NewRegister returns a register without a value. Nil options mean the defaults; bad ones
// are an error that wraps backend.ErrConfig.
func NewRegister[V any](o *Options) (*Register[V], error) {
	f, err := o.filled()
	if err != nil {
		return nil, err
	}
	r := &Register[V]{}
	if r.values, err = codecOf[V]("value", f.Value); err != nil {
		return nil, err
	}
	r.replica = newReplica(fmt.Sprintf("register of %v", reflect.TypeFor[V]()), f, func(e entry) error {
		if e.key != "" {
			return fmt.Errorf("%w: a register has no keys", ErrMalformed)
		}
		if e.form == dead {
			return nil
		}
		_, err := r.values.decode(e.value)
		return err
	})
	r.called = func(string) string { return "the value" }
	return r, nil
}

// Set sets the value, in place of what this node has seen, and tells the others. The
// error is that of Map.Set.
func (r *Register[V]) Set(value V) error {
	if err := r.made(); err != nil {
		return err
	}
	v, err := r.values.encodeValue(value)
	if err != nil {
		return err
	}
	return r.write(func(t *table, c *clock) ([]entry, error) {
		return []entry{r.written(t, c, "", v, 0)}, nil
	})
}

// Get returns the value, and whether there is one.
func (r *Register[V]) Get() (value V, ok bool) {
	e, live := r.held("")
	if !live {
		return value, false
	}
	value, err := r.values.decode(e.value)
	return value, err == nil
}

// Delete removes the value, and tells the others. The error is that of Map.Set.
func (r *Register[V]) Delete() error {
	return r.write(func(t *table, c *clock) ([]entry, error) {
		before, live, _ := t.get("")
		if !live {
			return nil, nil
		}
		return []entry{r.deleted(c, "", c.next(before.stamp))}, nil
	})
}

// Watch yields the value, if there is one, and then each change of it with whether there
// is one, until ctx is done or the register is closed. A slow reader misses what lies
// between, never the latest.
func (r *Register[V]) Watch(ctx context.Context) iter.Seq2[V, bool] {
	return func(yield func(V, bool) bool) {
		for c := range r.watch(ctx) {
			var value V
			if c.live {
				var err error
				if value, err = r.values.decode(c.value); err != nil {
					continue
				}
			}
			if !c.again && !yield(value, c.live) {
				return
			}
		}
	}
}

var _ backend.EntryState = (*Register[int])(nil)
