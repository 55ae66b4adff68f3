package once_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/once"
)

// BenchmarkDo does nothing, once: on one node of three, of which it is the first in
// order for a third of the keys. It reports what a key takes on each node, too.
func BenchmarkDo(b *testing.B) {
	bus := memory.NewBus()
	defer bus.Remove()
	ctx := context.Background()
	var groups []*once.Group
	for _, name := range []string{"a", "b", "c"} {
		node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "bench", Name: name, Params: map[string]string{"bus": bus.Name()}, Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		defer node.Close(ctx)
		group, err := once.New(node, &once.Options{Logger: quiet, MaxKeys: 4_000_000, ByPosition: true})
		if err != nil {
			b.Fatal(err)
		}
		defer group.Close(ctx)
		if err := node.WaitReady(ctx); err != nil {
			b.Fatal(err)
		}
		groups = append(groups, group)
	}
	nothing := func(context.Context) ([]byte, error) { return nil, nil }
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := groups[0].Do(ctx, fmt.Sprint("key-", i), nothing); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(heap()-before)/float64(i)/float64(len(groups)), "B/key")
}
