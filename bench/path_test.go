package main

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// counter counts what is merged, and keeps nothing.
type counter struct{ n atomic.Int64 }

func (c *counter) MarshalBinary() ([]byte, error) { return nil, nil }
func (c *counter) Merge([]byte) error             { c.n.Add(1); return nil }

// BenchmarkPath sends 200 bytes from one node to another in the same process:
// allocations are those of the send and the receive path together.
func BenchmarkPath(b *testing.B) {
	bus := memory.NewBus()
	defer bus.Remove()
	open := func(name string, s backend.State) (backend.ClusterChannel, backend.Channel) {
		n, err := backend.Open(b.Context(), backend.Config{
			Backend: "memory", Cluster: "bench", Name: name, Params: map[string]string{"bus": bus.Name()}, Logger: silent,
		})
		if err != nil {
			b.Fatal(err)
		}
		c, err := n.AddState("s", s, nil)
		if err != nil {
			b.Fatal(err)
		}
		return n, c
	}
	var got counter
	a, from := open("a", &counter{})
	z, _ := open("z", &got)
	defer func() {
		if err := a.Close(context.Background()); err != nil {
			b.Error(err)
		}
		if err := z.Close(context.Background()); err != nil {
			b.Error(err)
		}
	}()
	if err := z.WaitReady(b.Context()); err != nil {
		b.Fatal(err)
	}
	payload := record(0, payload)
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	b.ResetTimer()
	sent := int64(0)
	for b.Loop() {
		payload[4], payload[5], payload[6], payload[7] = byte(sent), byte(sent>>8), byte(sent>>16), byte(sent>>24)
		for from.TryBroadcast(payload) != nil {
			awaitMerged(&got, sent)
		}
		sent++
		if sent-got.n.Load() > 10000 {
			awaitMerged(&got, sent-5000)
		}
	}
	b.StopTimer()
	awaitMerged(&got, sent)
}

func awaitMerged(c *counter, n int64) { await(10*time.Second, func() bool { return c.n.Load() >= n }) }
