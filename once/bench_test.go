package once_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"testing"
	"time"

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

// hall is a seat of a member whose cluster is a list, and who hears what others tell at
// once.
type hall struct {
	view  backend.View
	state backend.State
	tell  func([]byte)
	looks chan struct{} // gets one whenever it is looked at, if there is room
}

func (h *hall) AddState(_ string, s backend.State, _ *backend.StateOptions) (backend.Channel, error) {
	h.state = s
	return h, nil
}

func (h *hall) View() backend.View {
	select {
	case h.looks <- struct{}{}:
	default:
	}
	v := h.view
	v.Members = slices.Clone(v.Members)
	return v
}

func (h *hall) Watch(ctx context.Context) iter.Seq[backend.View] {
	return func(yield func(backend.View) bool) {
		if yield(h.View()) {
			<-ctx.Done()
		}
	}
}

func (h *hall) Members() []backend.Member           { return h.View().Members }
func (h *hall) Position() int                       { return h.view.Position }
func (h *hall) WaitReady(ctx context.Context) error { return ctx.Err() }
func (h *hall) Close(context.Context) error         { return nil }
func (h *hall) Broadcast(b []byte)                  { h.tell(b) }
func (h *hall) TryBroadcast(b []byte) error         { h.tell(b); return nil }
func (h *hall) Remove()                             {}

// BenchmarkTurns has the last of many members do what all before it fail to do, one after
// the other: it looks at each. What the others cost is measured with it, and in
// proportion to their number. It reports what a failure costs.
func BenchmarkTurns(b *testing.B) {
	for _, by := range []string{"position", "key"} {
		for _, count := range []int{3, 30, 300} {
			b.Run(fmt.Sprintf("by=%s/members=%d", by, count), func(b *testing.B) { failing(b, count, by == "position") })
		}
	}
}

func failing(b *testing.B, count int, byPosition bool) {
	ctx := context.Background()
	var members []backend.Member
	for i := range count {
		members = append(members, backend.Member{Name: fmt.Sprintf("node-%03d", i), Instance: fmt.Sprintf("instance-%03d", i)})
	}
	o := once.Options{Logger: quiet, MaxKeys: 1_000_000, ByPosition: byPosition, Turn: time.Hour}
	open := func(h *hall) *once.Group {
		h.view.Status = backend.Attached
		group, err := once.New(h, &o)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = group.Close(ctx) })
		return group
	}
	last := &hall{view: backend.View{Members: members, Position: count - 1}, tell: func([]byte) {}, looks: make(chan struct{}, 1)}
	group := open(last)
	var others []*once.Group
	for _, m := range members[:count-1] { // each of which knows nobody
		others = append(others, open(&hall{view: backend.View{Members: []backend.Member{m}}, tell: func(update []byte) {
			if err := last.state.Merge(slices.Clone(update)); err != nil {
				b.Error(err)
			}
		}}))
	}
	fails := func(context.Context) ([]byte, error) { return nil, errors.New("no luck") }
	i, failures := 0, 0
	for b.Loop() {
		i++
		key := fmt.Sprint("key-", i)
		for last.view.Owner(key).Instance == members[count-1].Instance { // it would be the first
			key += "+"
		}
		done := make(chan error, 1)
		go func() {
			_, err := group.Do(ctx, key, func(context.Context) ([]byte, error) { return nil, nil })
			done <- err
		}()
		<-last.looks
		for acts, failed := false, 0; !acts; failures, failed = failures+1, failed+1 {
			select {
			case <-last.looks: // an earlier one
			default:
			}
			at := failed
			if _, err := others[at].Do(ctx, key, fails); !errors.Is(err, once.ErrFailed) {
				b.Fatal(err)
			}
			if at == len(others)-1 {
				acts = true
			}
			select {
			case <-last.looks:
			case err := <-done: // those after it in order are not asked
				acts = true
				done <- err
			}
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(failures), "ns/failure")
}
