package backend_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// Each update of a batch is treated as if it had come by itself: each is merged by its
// state, in order, once, and what is none is counted.
func TestABatchOfAllKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to driver.Handler
		s := &script{serve: func(ctx context.Context, h driver.Handler) error {
			to = h
			h.Link(nil)
			h.Members([]driver.Member{{Name: "b", Instance: "b"}})
			<-ctx.Done()
			return nil
		}}
		reg := prometheus.NewRegistry()
		config := ownDriver(s.open)
		config.Registerer = reg
		c, err := backend.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]*[]string{}
		states := map[string]*merges{}
		for _, key := range []string{"s", "t"} {
			states[key] = new(merges)
			got[key] = &states[key].all
			if _, err := c.AddState(key, states[key], &backend.StateOptions{QueueItems: 1000}); err != nil {
				t.Fatal(err)
			}
		}
		after(5 * time.Second)

		e := wire.NewEncoder("t", "b")
		batch := e.AppendBatch(nil)
		want, numbers, sizes := map[string][]string{}, map[string]uint64{}, 0
		add := func(key, data string, number uint64) {
			var start int
			batch, start = e.AppendUpdate(batch, wire.UpdateHead{Key: key, Number: number, Sent: time.Now().UnixNano()}, []byte(data))
			sizes += len(batch) - start
		}
		say := func(key, data string) {
			numbers[key]++
			add(key, data, numbers[key])
			want[key] = append(want[key], data)
		}
		for i := range 500 {
			key := "s"
			if i%3 == 0 {
				key = "t"
			}
			say(key, fmt.Sprint(key, i))
			if i == 250 {
				say("s", strings.Repeat("large", 20_000))
			}
		}
		add("unknown", "of no state", 1)
		counted, bytesCounted := 502, sizes
		add("s", "again", 1)
		add("t", "again", 2)
		add("s", "no number", 0)
		add("s", "too high a number", math.MaxUint64)
		own := bytes.Clone(batch)
		to.Frame(batch)
		clear(batch) // it is the driver's again
		after(time.Second)
		for key, all := range got {
			if !slices.Equal(*all, want[key]) {
				t.Errorf("%d updates of %s are merged, want %d in order", len(*all), key, len(want[key]))
			}
		}
		check := func(name, label string, want int) {
			t.Helper()
			if n := total(t, reg, name, label); n != float64(want) {
				t.Errorf("%s %s: %v, want %d", name, label, n, want)
			}
		}
		check("clusterchannel_duplicates_total", "", 2)
		check("clusterchannel_frames_rejected_total", "number", 2)
		check("alertmanager_cluster_messages_received_total", "update", counted)
		check("alertmanager_cluster_messages_received_size_total", "update", bytesCounted)
		to.Frame(own)
		check("clusterchannel_duplicates_total", "", 2+2+501)

		// What is malformed ends a batch; what stands before it counts.
		e = wire.NewEncoder("t", "b")
		batch = e.AppendBatch(nil)
		for range 100 {
			say("s", fmt.Sprint("more ", numbers["s"]))
		}
		batch, _ = wire.NewEncoder("t", "x").AppendUpdate(batch, wire.UpdateHead{Key: "s", Number: 1}, []byte("of another node"))
		add("s", "behind it", numbers["s"]+1)
		to.Frame(batch)
		after(100 * time.Millisecond)
		if !slices.Equal(*got["s"], want["s"]) {
			t.Errorf("%d updates are merged, want %d", len(*got["s"]), len(want["s"]))
		}
		check("clusterchannel_frames_rejected_total", "malformed", 1)

		// What there is no room for is dropped and counted.
		states["s"].hold = make(chan struct{})
		batch = e.AppendBatch(nil)
		say("s", "is being merged")
		to.Frame(batch)
		synctest.Wait()
		batch = e.AppendBatch(nil)
		for range 1000 {
			say("s", "fits")
		}
		for range 10 {
			numbers["s"]++
			add("s", "does not fit", numbers["s"])
		}
		to.Frame(batch)
		close(states["s"].hold)
		after(100 * time.Millisecond)
		if !slices.Equal(*got["s"], want["s"]) {
			t.Errorf("%d updates are merged, want %d", len(*got["s"]), len(want["s"]))
		}
		check("clusterchannel_dropped_total", "inbound_overflow", 10)
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// merges is a state that notes what it is given. It waits for hold, unless that is nil.
type merges struct {
	all  []string
	hold chan struct{}
}

func (*merges) MarshalBinary() ([]byte, error) { return nil, nil }

func (m *merges) Merge(b []byte) error {
	if m.hold != nil {
		<-m.hold
	}
	m.all = append(m.all, string(b))
	return nil
}
