package replicated_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// Forms of an entry, as they are sent.
const (
	dead = iota
	lasting
	expiring
)

// raw returns an entry as it is sent.
func raw(at uint64, form byte, times []uint64, key, value string) []byte {
	b := binary.BigEndian.AppendUint64(nil, at)
	b = append(b, form)
	for _, t := range times {
		b = binary.BigEndian.AppendUint64(b, t)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	return append(b, key+value...)
}

// update returns an update of a type.
func update(tag string, entries ...[]byte) []byte {
	b := append([]byte{1, byte(len(tag))}, tag...)
	for _, e := range entries {
		b = append(binary.AppendUvarint(b, uint64(len(e))), e...)
	}
	return b
}

const mapTag = "map[string]string"

// Each is refused, named, and counted, and stops no other.
func TestHostileEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := uint64(time.Now().UnixMilli())
		day := uint64((24 * time.Hour).Milliseconds())
		good := raw(now<<16, lasting, nil, "good", "1")
		for name, c := range map[string]struct {
			update []byte
			is     error
		}{
			"nothing":                  {nil, replicated.ErrMalformed},
			"one byte":                 {[]byte{1}, replicated.ErrMalformed},
			"a later version":          {[]byte{2, 0}, replicated.ErrVersion},
			"no version":               {[]byte{0, 0}, replicated.ErrMalformed},
			"a type that is cut off":   {[]byte{1, 200, 'm'}, replicated.ErrMalformed},
			"another type":             {update("map[string]int", good), replicated.ErrType},
			"a long type":              {update(strings.Repeat("t", 255)), replicated.ErrType},
			"a length beyond the end":  {append(update(mapTag, good), 200, 1, 1), replicated.ErrMalformed},
			"a length of 2^63":         {append(update(mapTag, good), 255, 255, 255, 255, 255, 255, 255, 255, 127), replicated.ErrMalformed},
			"a length without an end":  {append(update(mapTag, good), 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255), replicated.ErrMalformed},
			"a short entry":            {update(mapTag, good, []byte("short")), replicated.ErrMalformed},
			"an unknown form":          {update(mapTag, good, raw(now<<16, 3, nil, "x", "")), replicated.ErrVersion},
			"times that are cut off":   {update(mapTag, good, raw(now<<16, expiring, nil, "", "")), replicated.ErrMalformed},
			"a key that is cut off":    {update(mapTag, good, append(raw(now<<16, lasting, nil, "", "")[:9], 1, 0)), replicated.ErrMalformed},
			"a deletion with a value":  {update(mapTag, good, raw(now<<16, dead, []uint64{now + day}, "x", "1")), replicated.ErrMalformed},
			"the year 9999":            {update(mapTag, good, raw(253402300799000<<16, lasting, nil, "x", "1")), replicated.ErrAhead},
			"the end of time":          {update(mapTag, good, raw(math.MaxUint64, lasting, nil, "x", "1")), replicated.ErrAhead},
			"a deletion for ever":      {update(mapTag, good, raw(now<<16, dead, []uint64{math.MaxUint64}, "x", "")), replicated.ErrMalformed},
			"an end beyond time":       {update(mapTag, good, raw(now<<16, expiring, []uint64{math.MaxUint64, day, math.MaxUint64}, "x", "")), replicated.ErrMalformed},
			"forgotten before its end": {update(mapTag, good, raw(now<<16, expiring, []uint64{now + day, day, now + 1}, "x", "")), replicated.ErrMalformed},
			"over what ends later":     {update(mapTag, good, raw(now<<16, expiring, []uint64{now + day, day, math.MaxInt64 - 1}, "x", "")), replicated.ErrMalformed},
			"remembered for ever":      {update(mapTag, good, raw(now<<16, expiring, []uint64{now + day, 1000 * day, math.MaxInt64}, "x", "")), replicated.ErrMalformed},
		} {
			m := newMap[string, string](t, nil)
			if err := m.Merge(c.update); !errors.Is(err, c.is) {
				t.Errorf("%s: %v, want %v", name, err, c.is)
			}
			if n := m.Stats().Refused; n != 1 {
				t.Errorf("%s: %d are counted", name, n)
			}
			if got := m.Len(); len(c.update) > len(mapTag)+30 && !errors.Is(c.is, replicated.ErrType) && got != 1 {
				t.Errorf("%s: it holds %d entries, want the good one", name, got)
			}
		}
	})
}

// What is of 1970 is earlier than all else, and what it deletes was forgotten long ago.
func TestEntriesOf1970(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMap[string, string](t, nil)
		must(t, m.Set("x", "1"))
		must(t, m.Merge(update(mapTag,
			raw(0, lasting, nil, "x", "0"), raw(0, lasting, nil, "y", "0"),
			raw(0, dead, []uint64{0}, "z", ""), raw(0, expiring, []uint64{0, 0, 0}, "z", "0"), raw(0, dead, []uint64{1000}, "x", ""),
		)))
		holds(t, m, "x=1", "y=0")
		must(t, m.Set("y", "1"))
		if s := m.Stats(); s.Tombstones != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A clock that is two days behind refuses what the others say until it is right.
func TestAClockThatIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		after(72 * time.Hour)
		behind := &wrong{by: -48 * time.Hour}
		a, b := attached(t, open("a"), nil), attached(t, open("b"), &replicated.Options{Now: behind.now})
		must(t, a.Set("x", "1"))
		must(t, b.Set("y", "2"))
		after(time.Minute)
		holds(t, a, "x=1", "y=2")
		holds(t, b, "y=2")
		behind.set(0)
		after(time.Minute)
		holds(t, b, "x=1", "y=2")
	})
}

// A clock that was never set goes by what the others say.
func TestAClockOf1970(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memory.Bus, open func(string) backend.ClusterChannel) {
		unset := &wrong{by: -time.Duration(time.Now().Unix()) * time.Second}
		right := &wrong{}
		a, b := attached(t, open("a"), &replicated.Options{Now: right.now}), attached(t, open("b"), &replicated.Options{Now: unset.now})
		must(t, b.Set("z", "early"))
		must(t, a.Set("x", "1"))
		after(time.Second)
		holds(t, b, "x=1", "z=early")
		must(t, b.SetTTL("y", "2", time.Hour))
		must(t, b.Delete("z"))
		after(time.Minute)
		holds(t, a, "x=1", "y=2")
		if s := a.Stats(); s.Tombstones != 1 || s.Ahead+s.Refused > 0 {
			t.Errorf("%+v", s)
		}
		right.set(50 * time.Hour) // in which nobody writes
		must(t, a.Set("w", "3"))
		after(time.Second)
		holds(t, b, "w=3", "x=1")
		if s := b.Stats(); s.Ahead+s.Refused > 0 {
			t.Errorf("%+v", s)
		}
		must(t, a.Delete("w"))
		unset.set(50 * time.Hour)
		must(t, b.Set("x", "3"))
		after(time.Second)
		holds(t, a, "x=3")
		holds(t, b, "x=3")
	})
}

// A clock that was never set refuses what no clock says, which nothing could follow.
func TestAClockOf1970AndTheEndOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unset := &wrong{by: -time.Duration(time.Now().Unix()) * time.Second}
		m, right := newMap[string, string](t, &replicated.Options{Now: unset.now}), newMap[string, string](t, nil)
		for _, at := range []uint64{math.MaxUint64, math.MaxUint64 - 1, 253402300799000 << 16} {
			if err := m.Merge(update(mapTag, raw(at, lasting, nil, "x", "end"))); !errors.Is(err, replicated.ErrAhead) {
				t.Errorf("%d: %v", at, err)
			}
		}
		must(t, right.Set("y", "1"))
		merge(t, right, m)
		must(t, m.Set("x", "1"))
		must(t, m.SetTTL("z", "1", time.Minute))
		holds(t, m, "x=1", "y=1", "z=1")
		must(t, m.Delete("x"))
		merge(t, m, right)
		holds(t, right, "y=1", "z=1")
	})
}

// Two nodes have other types under one key: each refuses what the other says, names it,
// and counts it. Another state of them is in order.
func TestTwoTypesUnderOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memory.NewBus()
		t.Cleanup(bus.Remove)
		var logged testkit.Log
		registry := prometheus.NewRegistry()
		var nodes []backend.ClusterChannel
		for i, name := range []string{"a", "b"} {
			c := backend.Config{
				Backend: "memory", Cluster: "t", Name: name, Params: map[string]string{"bus": bus.Name()}, Logger: slog.New(slog.DiscardHandler),
			}
			if i == 0 {
				c.Logger, c.Registerer = slog.New(slog.NewTextHandler(&logged, nil)), registry
			}
			node, err := backend.Open(t.Context(), c)
			must(t, err)
			t.Cleanup(func() { must(t, node.Close(context.Background())) })
			nodes = append(nodes, node)
		}
		words, numbers := newMap[string, string](t, nil), newMap[string, int](t, nil)
		must(t, words.Attach(nodes[0], "same"))
		must(t, numbers.Attach(nodes[1], "same"))
		fine, also := attached(t, nodes[0], nil), attached(t, nodes[1], nil)
		must(t, words.Set("x", "1"))
		must(t, numbers.Set("y", 2))
		must(t, fine.Set("x", "1"))
		after(time.Minute)
		holds(t, words, "x=1")
		holds(t, also, "x=1")
		if numbers.Len() != 1 || words.Stats().Refused == 0 || numbers.Stats().Refused == 0 {
			t.Errorf("%d, %+v, %+v", numbers.Len(), words.Stats(), numbers.Stats())
		}
		if text := logged.String(); !strings.Contains(text, "map[string]int") || !strings.Contains(text, "key=same") {
			t.Errorf("it logged %s", text)
		}
		families, err := registry.Gather()
		must(t, err)
		counted := 0.0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				labels := map[string]string{}
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = l.GetValue()
				}
				if labels["key"] == "same" && labels["op"] == "merge" {
					counted += m.GetCounter().GetValue()
				}
			}
		}
		if counted == 0 {
			t.Error("the node counts no refusal")
		}
	})
}

// replica is what all types have.
type replica interface {
	backend.EntryState
	backend.Digester
	Attach(node backend.ClusterChannel, key string) error
	Stats() replicated.Stats
	Close()
}

// kinds returns one of each type.
func kinds(t *testing.T, o *replicated.Options) []replica {
	t.Helper()
	m, err := replicated.NewMap[string, string](o)
	must(t, err)
	n, err := replicated.NewMap[string, int](o)
	must(t, err)
	s, err := replicated.NewSet[string](o)
	must(t, err)
	c, err := replicated.NewCounter(o)
	must(t, err)
	g, err := replicated.NewGrowCounter(o)
	must(t, err)
	r, err := replicated.NewRegister[int](o)
	must(t, err)
	all := []replica{m, n, s, c, g, r}
	for _, one := range all {
		t.Cleanup(one.Close)
	}
	return all
}

// FuzzMerge: whatever a stranger says stops nothing, and what is merged of it is a state
// that others merge, whole or entry by entry, and that is merged once.
func FuzzMerge(f *testing.F) {
	now := func() time.Time { return time.UnixMilli(1e12) }
	at, day := uint64(1e12)<<16, uint64((24 * time.Hour).Milliseconds())
	for _, tag := range []string{mapTag, "map[string]int", "set of string", "counter", "growing counter", "register of int"} {
		for _, e := range [][]byte{
			raw(at, lasting, nil, "key", "1"), raw(at, lasting, nil, "12345678", strings.Repeat("\x00", 16)), raw(at, lasting, nil, "", "5"),
			raw(at, lasting, nil, "e12345678", ""), raw(at, dead, []uint64{1e12 + day}, "e12345678", ""), raw(at, expiring, []uint64{1e12 + 5, day, 1e12 + day}, "key", "2"),
			raw(math.MaxUint64, lasting, nil, "key", "1"),
		} {
			f.Add(update(tag, e))
			f.Add(update(tag, e, e, raw(at+1, lasting, nil, "key", "3")))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range kinds(t, &replicated.Options{Now: now, MaxEntries: 4, MaxBytes: 64}) {
			_ = s.Merge(b)
			if n := s.Stats(); n.Entries+n.Tombstones > 8 || n.Bytes > 1000 {
				t.Errorf("%T holds %+v", s, n)
			}
		}
		o := &replicated.Options{Now: now}
		first, second := kinds(t, o), kinds(t, o)
		for i, s := range first {
			if s.Merge(b) != nil && s.Stats().Refused == 0 {
				t.Errorf("%T refuses what it does not count", s)
			}
			before, err := s.Digest()
			must(t, err)
			_ = s.Merge(b)
			if now, err := s.Digest(); err != nil || now != before {
				t.Errorf("%T merges it twice", s)
			}
			for id := range s.EntryIDs() {
				entry, err := s.Entry(id)
				must(t, err)
				if err := second[i].Merge(entry); err != nil {
					t.Errorf("%T: its entry is refused: %v", s, err)
				}
			}
			if d, err := second[i].Digest(); err != nil || d != before {
				t.Errorf("%T: its entries are another state", s)
			}
			merge(t, s, second[i])
		}
	})
}
