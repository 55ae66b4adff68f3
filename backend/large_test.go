package backend_test

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// A megabyte that is sent, or arrives in pieces, passes through memory that is used
// again, though the garbage is collected in between: what the collector and fresh
// pages cost is more than a copy.
func TestALargeUpdateTakesMemoryThatIsUsedAgain(t *testing.T) {
	const size, piece, updates = 1 << 20, 256 << 10, 20
	synctest.Test(t, func(t *testing.T) {
		handler := make(chan driver.Handler, 1)
		s := &script{caps: func() driver.Caps { return driver.Caps{Membership: true, MaxFrame: piece} }}
		s.serve = func(ctx context.Context, h driver.Handler) error {
			h.Link(nil)
			handler <- h
			<-ctx.Done()
			return nil
		}
		c, err := backend.Open(t.Context(), ownDriver(s.open))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background()) //nolint:errcheck // it is over
		merged := &tally{}
		channel, err := c.AddState("s", merged, nil)
		if err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		h, data := <-handler, make([]byte, size)
		enc := wire.NewEncoder("t", "sender")
		number := uint64(0)
		received := func() (do func()) {
			number++
			frame, first := enc.AppendUpdate(enc.AppendBatch(nil), wire.UpdateHead{Key: "s", Number: number}, data)
			var pieces [][]byte
			if err := enc.Chunks(frame[first:], piece, nil, number, func(b []byte) error { pieces = append(pieces, slices.Clone(b)); return nil }); err != nil {
				t.Fatal(err)
			}
			return func() {
				for _, b := range pieces {
					h.Frame(b)
				}
			}
		}
		sent := func() (do func()) {
			data[0]++
			return func() { channel.Broadcast(data) }
		}
		for what, prepare := range map[string]func() func(){"is received": received, "is sent": sent} {
			spent := uint64(0)
			for i := range updates {
				var before, now runtime.MemStats
				do := prepare()
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&before)
				do()
				synctest.Wait()
				runtime.ReadMemStats(&now)
				if i >= updates/2 { // the first makes what the others use
					spent += now.TotalAlloc - before.TotalAlloc
				}
			}
			if each := spent / (updates / 2); each > size/2 {
				t.Errorf("an update of %d bytes that %s takes %d bytes of new memory", size, what, each)
			}
		}
		if n := merged.n.Load(); n != updates {
			t.Errorf("%d updates are merged, want %d", n, updates)
		}
	})
}

// tally is a state that counts what is merged.
type tally struct{ n atomic.Int64 }

func (*tally) MarshalBinary() ([]byte, error) { return nil, nil }
func (s *tally) Merge([]byte) error           { s.n.Add(1); return nil }
