package replicated

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/bits"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Counter is a number that all nodes have, and each can raise and lower: what they do at
// once adds up. Its methods may be called from many goroutines at once. Make one by
// NewCounter.
//
// It takes an entry of some 60 bytes for each Counter that was ever changed: a node that
// restarts begins another one, and what the former one counted stays.
type Counter struct{ sums }

// GrowCounter is a Counter that only grows, on all nodes. Make one by NewGrowCounter.
type GrowCounter struct{ sums }

// sums is what a node, and each other one, has added and subtracted.
type sums struct {
	*replica
	slot string
}

// maxSum bounds what one adds, and what it subtracts.
const maxSum = 1 << 62

// NewCounter returns a counter of 0. Nil options mean the defaults; bad ones are an error
// that wraps backend.ErrConfig.
func NewCounter(o *Options) (*Counter, error) {
	s, err := newSums("counter", o, maxSum)
	if err != nil {
		return nil, err
	}
	return &Counter{s}, nil
}

// NewGrowCounter returns a counter of 0, as NewCounter does.
func NewGrowCounter(o *Options) (*GrowCounter, error) {
	s, err := newSums("growing counter", o, 0)
	if err != nil {
		return nil, err
	}
	return &GrowCounter{s}, nil
}

func newSums(kind string, o *Options, maxDown uint64) (sums, error) {
	f, err := o.filled()
	if err != nil {
		return sums{}, err
	}
	r := newReplica(kind, f, func(e entry) error {
		if len(e.key) != slotSize || e.form != lasting || len(e.value) != 16 {
			return fmt.Errorf("%w: it is no sum", ErrMalformed)
		}
		if up, down := number(e.value), number(e.value[8:]); up > maxSum || down > maxDown {
			return fmt.Errorf("%w: it adds up to %d and -%d", ErrMalformed, up, down)
		}
		return nil
	})
	r.called = func(string) string { return "the sum of a node" }
	return sums{slot: newSlot(), replica: r}, nil
}

// Add adds n, which may be negative, and tells the others. The error wraps ErrFull where
// all that this node has added, or all that it has subtracted, would be above 2^62, and
// backend.ErrClosed after Close, or that of its node. Then nothing has changed.
func (c *Counter) Add(n int64) error {
	if n < 0 {
		return c.add(0, -uint64(n))
	}
	return c.add(uint64(n), 0)
}

// Value returns the sum of what all have added, or the nearest that an int64 can hold.
func (c *Counter) Value() int64 {
	up, down := c.total()
	if up.less(down) {
		return -int64(min(down.minus(up), math.MaxInt64+1))
	}
	return int64(min(up.minus(down), math.MaxInt64))
}

// Watch yields the value, and then each change of it, until ctx is done or the counter is
// closed. A slow reader misses what lies between, never the latest.
func (c *Counter) Watch(ctx context.Context) iter.Seq[int64] { return values(c.sums, ctx, c.Value) }

// Add adds n, and tells the others. The error is that of Counter.Add.
func (c *GrowCounter) Add(n uint64) error { return c.add(n, 0) }

// Value returns the sum of what all have added, or the nearest that a uint64 can hold.
func (c *GrowCounter) Value() uint64 {
	up, _ := c.total()
	return up.minus(total{})
}

// Watch is as Counter.Watch.
func (c *GrowCounter) Watch(ctx context.Context) iter.Seq[uint64] {
	return values(c.sums, ctx, c.Value)
}

func (s sums) add(up, down uint64) error {
	return s.write(func(t *table, c *clock) ([]entry, error) {
		if up == 0 && down == 0 {
			return nil, nil
		}
		before, _, found := t.get(s.slot)
		var had, lacked uint64
		if found {
			had, lacked = number(before.value), number(before.value[8:])
		}
		if up > maxSum-had || down > maxSum-lacked {
			return nil, fmt.Errorf("%w: this node has added %d and subtracted %d; at most %d of each is possible", ErrFull, had, lacked, int64(maxSum))
		}
		var value [16]byte
		binary.BigEndian.PutUint64(value[:], had+up)
		binary.BigEndian.PutUint64(value[8:], lacked+down)
		return []entry{{stamp: c.next(before.stamp), form: lasting, key: s.slot, value: string(value[:])}}, nil
	})
}

// total returns what all have added, and subtracted.
func (s sums) total() (up, down total) {
	if s.replica == nil {
		return total{}, total{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.table.order {
		e, _ := parse(it.encoded)
		up.add(number(e.value))
		down.add(number(e.value[8:]))
	}
	return up, down
}

// total is a sum of any number of uint64s that there can be.
type total struct{ high, low uint64 }

func (t *total) add(n uint64) {
	var carry uint64
	t.low, carry = bits.Add64(t.low, n, 0)
	t.high += carry
}

func (t total) less(other total) bool {
	return t.high < other.high || t.high == other.high && t.low < other.low
}

// minus returns the difference to a lesser one, or the largest number.
func (t total) minus(other total) uint64 {
	low, borrow := bits.Sub64(t.low, other.low, 0)
	if t.high-other.high-borrow > 0 {
		return math.MaxUint64
	}
	return low
}

// values yields what value returns, whenever something has changed.
func values[N comparable](s sums, ctx context.Context, value func() N) iter.Seq[N] {
	return func(yield func(N) bool) {
		last := value()
		if !yield(last) {
			return
		}
		for range s.watch(ctx) {
			if now := value(); now != last {
				if last = now; !yield(now) {
					return
				}
			}
		}
	}
}

var (
	_ backend.EntryState = (*Counter)(nil)
	_ backend.EntryState = (*GrowCounter)(nil)
)
