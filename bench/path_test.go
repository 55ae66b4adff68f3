package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// counter counts what is merged, and keeps nothing.
type counter struct{ n atomic.Int64 }

func (c *counter) MarshalBinary() ([]byte, error) { return nil, nil }
func (c *counter) Merge([]byte) error             { c.n.Add(1); return nil }

// open opens a node with one state, and closes it with the benchmark.
func open(b *testing.B, c backend.Config, s backend.State) (backend.ClusterChannel, backend.Channel) {
	b.Helper()
	c.Cluster, c.Logger = "bench", silent
	n, err := backend.Open(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	ch, err := n.AddState("s", s, nil)
	if err != nil {
		b.Fatal(err)
	}
	return n, ch
}

// mallocs reports the allocations of each message as a fraction, which
// ReportAllocs rounds off.
func mallocs(b *testing.B, messages func() int64) func() {
	b.ReportAllocs()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	return func() {
		b.StopTimer()
		var after runtime.MemStats
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(messages()), "allocs/message")
	}
}

// number makes a payload unlike those before.
func number(payload []byte, i int64) {
	payload[0], payload[1], payload[2], payload[3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
}

// BenchmarkSend broadcasts 200 bytes to nobody: it measures the sender alone,
// including its own echo.
func BenchmarkSend(b *testing.B) {
	bus := memory.NewBus()
	b.Cleanup(bus.Remove)
	_, c := open(b, backend.Config{Backend: "memory", Name: "a", Params: map[string]string{"bus": bus.Name()}}, &counter{})
	data := make([]byte, payload)
	sent := int64(0)
	done := mallocs(b, func() int64 { return sent })
	for b.Loop() {
		number(data, sent)
		for c.TryBroadcast(data) != nil {
			runtime.Gosched() // the queue is full
		}
		sent++
	}
	done()
}

// BenchmarkPath broadcasts 200 bytes to one other node in the same process: many
// at a time, which share frames, and each once the one before is merged.
func BenchmarkPath(b *testing.B) {
	b.Run("many", func(b *testing.B) { path(b, 10000) })
	b.Run("alone", func(b *testing.B) { path(b, 0) })
}

func path(b *testing.B, underWay int64) {
	bus := memory.NewBus()
	b.Cleanup(bus.Remove)
	var got counter
	params := map[string]string{"bus": bus.Name()}
	_, from := open(b, backend.Config{Backend: "memory", Name: "a", Params: params}, &counter{})
	z, _ := open(b, backend.Config{Backend: "memory", Name: "z", Params: params}, &got)
	if err := z.WaitReady(b.Context()); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, payload)
	sent := int64(0)
	done := mallocs(b, func() int64 { return sent })
	for b.Loop() {
		number(data, sent)
		for from.TryBroadcast(data) != nil {
			merged(b, &got, sent)
		}
		sent++
		if sent-got.n.Load() > underWay {
			merged(b, &got, sent-underWay/2)
		}
	}
	merged(b, &got, sent)
	done()
}

// BenchmarkReceive hands frames of one and of a hundred updates of 200 bytes to
// a node until they are merged.
func BenchmarkReceive(b *testing.B) {
	b.Run("one", func(b *testing.B) { receive(b, 1) })
	b.Run("batch", func(b *testing.B) { receive(b, 100) })
}

func receive(b *testing.B, batch int) {
	const lap = 100 // frames encoded ahead, outside the measured time
	var got counter
	d := make(feed)
	_, _ = open(b, backend.Config{Name: "z", Driver: d.open}, &got)
	h := <-d
	enc := wire.NewEncoder("bench", "sender")
	buffers, frames := make([][]byte, lap), make([][]byte, lap)
	data := make([]byte, payload)
	seq, handed := uint64(0), int64(0)
	encode := func() {
		for i := range frames {
			f := enc.AppendBatch(buffers[i][:0])
			first := 0
			for range batch {
				seq++
				number(data, int64(seq))
				f, first = enc.AppendUpdate(f, wire.UpdateHead{Key: "s", Number: seq, Sent: time.Now().UnixNano()}, data)
			}
			buffers[i], frames[i] = f, f
			if batch == 1 {
				frames[i] = f[first:]
			}
		}
	}
	encode()
	next := 0
	done := mallocs(b, func() int64 { return handed })
	for b.Loop() {
		if next == lap {
			b.StopTimer()
			encode()
			next = 0
			b.StartTimer()
		}
		h.Frame(frames[next])
		next++
		handed += int64(batch)
		if handed-got.n.Load() > 10000 {
			merged(b, &got, handed-5000)
		}
	}
	merged(b, &got, handed)
	done()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(handed), "ns/message")
}

// feed is a driver through which a benchmark hands over frames.
type feed chan driver.Handler

func (d feed) open(context.Context, driver.Options) (driver.Driver, error) { return d, nil }

func (d feed) Serve(ctx context.Context, h driver.Handler) error {
	h.Members(nil)
	h.Link(nil)
	d <- h
	<-ctx.Done()
	return nil
}

func (feed) Caps() driver.Caps                       { return driver.Caps{Membership: true} }
func (feed) Broadcast(context.Context, []byte) error { return nil }
func (feed) Close(context.Context) error             { return nil }

// merged waits, without a timer's delay, until n are merged.
func merged(b *testing.B, c *counter, n int64) {
	for deadline := time.Now().Add(10 * time.Second); c.n.Load() < n; runtime.Gosched() {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d are merged", c.n.Load(), n)
		}
	}
}
