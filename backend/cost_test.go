package backend_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// crowd opens a node among that many members, on a driver that sends nothing, and
// returns the channel of a state and the number of its frames.
func crowd(t testing.TB, members int) (backend.ClusterChannel, backend.Channel, *atomic.Int64) {
	t.Helper()
	var frames atomic.Int64
	s := &script{broadcast: func(context.Context, []byte) error { frames.Add(1); return nil }}
	s.serve = func(ctx context.Context, h driver.Handler) error {
		h.Link(nil)
		all := []driver.Member{}
		for i := range members - 1 {
			name := fmt.Sprintf("m%04d", i)
			all = append(all, driver.Member{Name: name, Instance: name, Addr: name + ":1"})
		}
		h.Members(all)
		<-ctx.Done()
		return nil
	}
	c, err := backend.Open(context.Background(), ownDriver(s.open))
	if err != nil {
		t.Fatal(err)
	}
	channel, err := c.AddState("s", &set{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, channel, &frames
}

// A broadcast costs what it sends, however many members there are.
func TestABroadcastCostsTheSameWithManyMembers(t *testing.T) {
	allocated := func(members int) (each uint64) {
		synctest.Test(t, func(t *testing.T) {
			c, channel, frames := crowd(t, members)
			after(time.Minute)
			if n := len(c.Members()); n != members {
				t.Fatalf("%d members, want %d", n, members)
			}
			send := func(times int) {
				for range times {
					channel.Broadcast([]byte("an update of some length"))
					synctest.Wait()
				}
			}
			send(100) // what is made once
			sent := frames.Load()
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			send(1000)
			runtime.ReadMemStats(&now)
			each = (now.TotalAlloc - before.TotalAlloc) / 1000
			if n := frames.Load() - sent; n < 1000 {
				t.Errorf("%d frames for 1000 updates", n)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
		return each
	}
	few, many := allocated(3), allocated(4000)
	t.Logf("%d bytes among 3 members, %d among 4000", few, many)
	if many > 2*few+256 {
		t.Errorf("a broadcast allocates %d bytes among 3 members, and %d among 4000", few, many)
	}
}

// BenchmarkBroadcast is a broadcast, until its frame is handed to the driver.
func BenchmarkBroadcast(b *testing.B) {
	for _, members := range []int{3, 1000, 4000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			c, channel, frames := crowd(b, members)
			for len(c.Members()) < members {
				runtime.Gosched()
			}
			update := []byte("an update of some length")
			b.ReportAllocs()
			for b.Loop() {
				before := frames.Load()
				channel.Broadcast(update)
				for frames.Load() == before {
					runtime.Gosched()
				}
			}
			if err := c.Close(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
}
