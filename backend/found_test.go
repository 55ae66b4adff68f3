package backend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/internal/wire"
	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

// What was once found and has no scenario of the simulator: docs/regressions.md
// lists all of it.

// stuck is a set that does not return from Merge until it is released.
type stuck struct {
	set
	release chan struct{}
}

func (s *stuck) Merge(b []byte) error {
	<-s.release
	return s.set.Merge(b)
}

// Each of two late states has a limit of its own, and the first that runs into it
// takes nothing from the second.
func TestWaitReadyWithTwoStuckStates(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		a, b := open(t, bus, "a", nil), open(t, bus, "b", nil)
		after(5 * time.Second)
		release := make(chan struct{})
		defer close(release)
		for _, key := range []string{"s", "t"} {
			has := new(set)
			has.add("entry of " + key)
			if _, err := a.AddState(key, has, nil); err != nil {
				t.Fatal(err)
			}
		}
		after(5 * time.Second)
		for _, key := range []string{"s", "t"} {
			if _, err := b.AddState(key, &stuck{release: release}, nil); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := b.WaitReady(t.Context()); err != nil || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if v := b.View(); fmt.Sprint(v.Unready) != "[s t]" {
			t.Errorf("not ready are %q", v.Unready)
		}
	})
}

// notes is a state that remembers each update that it was given.
type notes struct {
	mu  sync.Mutex
	got []string
}

func (*notes) MarshalBinary() ([]byte, error) { return []byte("the same"), nil }

func (n *notes) Merge(b []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, string(b))
	return nil
}

func (n *notes) all() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.got, " ")
}

// Bytes that a node was given once are an update of its own when it says them
// later.
func TestTheSameBytesSaidLater(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		var all []*notes
		var channels []backend.Channel
		for _, name := range []string{"a", "b"} {
			s := new(notes)
			c, err := open(t, bus, name, nil).AddState("s", s, nil)
			if err != nil {
				t.Fatal(err)
			}
			all, channels = append(all, s), append(channels, c)
		}
		after(5 * time.Second)
		for _, word := range []string{"on", "off", "on"} {
			channels[0].Broadcast([]byte(word))
			after(time.Second)
		}
		after(10 * time.Minute)
		for _, word := range []string{"off", "on"} {
			if err := channels[1].TryBroadcast([]byte(word)); err != nil {
				t.Error(err)
			}
		}
		after(time.Second)
		if got := all[1].all(); got != "on off on" {
			t.Errorf("b was given %q", got)
		}
		if got := all[0].all(); got != "off on" {
			t.Errorf("a was given %q", got)
		}
	})
}

// What a node has from an exchange alone, and then says, reaches who missed it.
func TestWhatCameByExchangeIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		a, b, c := open(t, bus, "a", nil), open(t, bus, "b", nil), open(t, bus, "c", nil)
		sa, sb, given := new(set), new(set), new(notes)
		sa.add("x")
		for key, who := range map[backend.ClusterChannel]backend.State{a: sa, c: given} {
			if _, err := key.AddState("s", who, nil); err != nil {
				t.Fatal(err)
			}
		}
		after(5 * time.Second)
		from, err := b.AddState("s", sb, nil)
		if err != nil {
			t.Fatal(err)
		}
		after(5 * time.Second)
		if !sb.has("x") {
			t.Fatal("b has nothing from the exchange")
		}
		from.Broadcast([]byte("x\n"))
		after(time.Second)
		if got := given.all(); !strings.Contains(got, "x") {
			t.Errorf("c was given %q", got)
		}
	})
}

// An update that arrives twice is merged once, and counted.
func TestAnUpdateThatArrivesTwice(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		reg := prometheus.NewRegistry()
		a := open(t, bus, "a", nil)
		b := open(t, bus, "b", func(c *backend.Config) {
			c.Registerer = reg
			c.Driver = func(ctx context.Context, o driver.Options) (driver.Driver, error) {
				d, err := memory.Open(ctx, o)
				return twice{d}, err
			}
		})
		given := new(notes)
		from, err := a.AddState("s", new(notes), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.AddState("s", given, nil); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Second)
		from.Broadcast([]byte("once"))
		after(time.Minute)
		if got := given.all(); got != "once" {
			t.Errorf("b was given %q", got)
		}
		expect(t, b, backend.Attached, "a", "b")
		if n := total(t, reg, "clusterchannel_duplicates_total", ""); n != 1 {
			t.Errorf("%v count as duplicates", n)
		}
	})
}

// twice is a driver that hands over each frame twice.
type twice struct{ driver.Driver }

func (d twice) Serve(ctx context.Context, h driver.Handler) error {
	return d.Driver.Serve(ctx, twiceHandler{h})
}

type twiceHandler struct{ driver.Handler }

func (h twiceHandler) Frame(b []byte) {
	h.Handler.Frame(bytes.Clone(b))
	h.Handler.Frame(b)
}

// The series of a key that is removed do not come back.
func TestMetricsOfARemovedKey(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		reg := prometheus.NewRegistry()
		a := open(t, bus, "a", func(c *backend.Config) { c.Registerer, c.MaxPayload = reg, 1000 })
		channel, err := a.AddState("gone", new(set), nil)
		if err != nil {
			t.Fatal(err)
		}
		large := make([]byte, 1001)
		if err := channel.TryBroadcast(large); !errors.Is(err, backend.ErrTooLarge) || series(t, reg, "gone") == 0 {
			t.Fatalf("%v, and %d series", err, series(t, reg, "gone"))
		}
		channel.Remove()
		if err := channel.TryBroadcast(large); !errors.Is(err, backend.ErrClosed) {
			t.Error(err)
		}
		if n := series(t, reg, "gone"); n > 0 {
			t.Errorf("%d series of a key that is removed", n)
		}
		next, err := a.AddState("gone", new(set), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = next.TryBroadcast(large) // it is counted
		channel.Remove()
		if series(t, reg, "gone") == 0 {
			t.Error("the channel before takes away the series of the next one")
		}
	})
}

// series counts those with the label key.
func series(t *testing.T, reg *prometheus.Registry, key string) (n int) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "key" && l.GetValue() == key {
					n++
				}
			}
		}
	}
	return n
}

// speak writes frames to a bus, as a stranger does.
func speak(t *testing.T, bus *memory.Bus, frames ...[]byte) {
	t.Helper()
	d, err := memory.Open(t.Context(), driver.Options{Cluster: "t", Self: driver.Member{Name: "stranger"}, Params: map[string]string{"bus": bus.Name()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range frames {
		if err := d.Broadcast(t.Context(), frame); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	}
	if err := d.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// Keys of a mebibyte are kept by nobody, in a member's name or a stranger's.
func TestKeysThatAreTooLong(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		reg := prometheus.NewRegistry()
		a := open(t, bus, "a", func(c *backend.Config) { c.Registerer = reg })
		b := open(t, bus, "b", nil)
		after(5 * time.Second)
		before := heap()
		for i := range 300 {
			origin := []string{"stranger", b.View().Self().Instance}[i%2]
			key := strings.Repeat("k", 1<<20) + fmt.Sprint(i)
			frame, start := wire.NewEncoder("t", origin).AppendUpdate(nil, wire.UpdateHead{Key: key, Number: uint64(i + 1)}, []byte("x"))
			speak(t, bus, frame[start:])
		}
		if grown := int64(heap()) - int64(before); grown > 16<<20 {
			t.Errorf("%d bytes are kept of 300 updates", grown)
		}
		if said := a.(backend.Inspector).Inspect().Said[b.View().Self().Instance]; len(said.Key) > 255 {
			t.Errorf("a key of %d bytes is shown", len(said.Key))
		}
		if n := total(t, reg, "clusterchannel_frames_rejected_total", "malformed"); n < 300 {
			t.Errorf("%v are rejected", n)
		}
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// total sums a metric, of the series with this value of a label if it is given.
func total(t *testing.T, reg *prometheus.Registry, name, label string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			is := func(l *dto.LabelPair) bool { return label == "" || l.GetValue() == label }
			if f.GetName() == name && slices.ContainsFunc(m.GetLabel(), is) {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// A piece that promises 256 MiB, again and again, keeps nobody's payload away.
func TestAPieceThatPromisesMuch(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		pieces := func(c *backend.Config) { c.Params["max_frame"] = "1000" }
		a, b := open(t, bus, "a", pieces), open(t, bus, "b", pieces)
		got := new(sink)
		from, err := a.AddState("s", new(sink), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.AddState("s", got, nil); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Second)
		for i := range 5 {
			speak(t, bus, promise(t, uint64(i+1), 256<<20))
			payload := bytes.Repeat([]byte{byte(i)}, 100_000)
			from.Broadcast(payload)
			after(29 * time.Second)
			if len(got.got) != i+1 || !bytes.Equal(got.got[i], payload) {
				t.Fatalf("round %d: b was given %d payloads", i, len(got.got))
			}
		}
	})
}

// promise returns the first piece of a frame of that size.
func promise(t *testing.T, id uint64, size uint64) []byte {
	t.Helper()
	var piece []byte
	small := errors.New("enough")
	err := wire.NewEncoder("t", "stranger").Chunks(make([]byte, 4000), 1000, nil, id, func(b []byte) error {
		piece = bytes.Clone(b)
		return small
	})
	var f wire.Frame
	if !errors.Is(err, small) || wire.Decode(piece, &f) != nil {
		t.Fatal(err)
	}
	piece = field.AppendUint(piece, 123, size)      // the total: the last word counts
	piece = field.AppendUint(piece, 122, size/1000) // how many pieces
	if wire.Decode(piece, &f) != nil || f.Total != size {
		t.Fatalf("the piece promises %d bytes", f.Total)
	}
	return piece
}
