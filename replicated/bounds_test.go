package replicated_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// Three parts that were full become equal once there is room.
func TestThreePartsThatWereFull(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus, open func(string) backend.ClusterChannel) {
		o := &replicated.Options{MaxEntries: 5, Tombstones: time.Minute}
		names := []string{"a", "b", "c"}
		var all []*replicated.Map[string, string]
		for _, name := range names {
			all = append(all, attached(t, open(name), o))
		}
		after(time.Second)
		for i, x := range names {
			for _, y := range names[i+1:] {
				bus.Cut(x, y, true)
			}
		}
		for i, name := range names {
			for j := range 5 {
				must(t, all[i].Set(fmt.Sprint(name, j), "1"))
			}
			if err := all[i].Set("more", "1"); !errors.Is(err, replicated.ErrFull) || !strings.Contains(err.Error(), `"more"`) {
				t.Error(err)
			}
		}
		for i, x := range names {
			for _, y := range names[i+1:] {
				bus.Cut(x, y, false)
			}
		}
		after(time.Minute)
		for i, m := range all {
			if n := m.Len(); n != 10 || m.Stats().Refused == 0 {
				t.Errorf("%s holds %d, %+v", names[i], n, m.Stats())
			}
		}
		for i, m := range all {
			for j := range 5 {
				must(t, m.Delete(fmt.Sprint(names[i], j)))
			}
		}
		after(3 * time.Hour) // the deletions are forgotten, and what was refused is offered once more
		if x, y, z := digest(t, all[0]), digest(t, all[1]), digest(t, all[2]); x != y || y != z {
			t.Errorf("the digests are %x, %x, %x", x, y, z)
		}
	})
}

// An element that is there is added again though the set is full, and holds against who
// removes what it has seen of it.
func TestAFullSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &replicated.Options{MaxEntries: 1}
		a, b := newSet(t, o), newSet(t, o)
		must(t, a.Add("x"))
		both(t, a, b)
		must(t, a.Remove("x"))
		after(time.Second)
		must(t, b.Add("x"))
		both(t, a, b)
		if !a.Has("x") || !b.Has("x") {
			t.Error("the addition is lost")
		}
		err := b.Add("y")
		if !errors.Is(err, replicated.ErrFull) || !strings.HasPrefix(err.Error(), `"y": `) {
			t.Errorf("%q", err)
		}
	})
}

// An error names what the caller knows, not what it is called within.
func TestWhatErrorsName(t *testing.T) {
	r := newRegister[string](t, &replicated.Options{MaxBytes: 10})
	if err := r.Set("more than ten bytes"); !errors.Is(err, replicated.ErrFull) || !strings.HasPrefix(err.Error(), "the value: ") {
		t.Errorf("%q", err)
	}
	s := newSet(t, nil)
	late := uint64(time.Now().Add(50*time.Hour).UnixMilli()) << 16
	if err := s.Merge(update("set of string", raw(late, lasting, nil, "e\x00\x01\x02\x03\x04\x05\x06\x07", ""))); !errors.Is(err, replicated.ErrAhead) || !strings.HasPrefix(err.Error(), `"e": `) {
		t.Errorf("%q", err)
	}
}

// Who forgot to make one, or to open a node, is told so; what is read is empty.
func TestZeroValues(t *testing.T) {
	var m replicated.Map[string, int]
	var s replicated.Set[string]
	var c replicated.Counter
	var g replicated.GrowCounter
	var r replicated.Register[int]
	made := newMap[string, int](t, nil)
	for what, err := range map[string]error{
		"Map.Set": m.Set("x", 1), "Map.SetTTL": m.SetTTL("x", 1, time.Hour), "Map.Delete": m.Delete("x"), "Map.Attach": m.Attach(nil, "m"), "Map.Merge": m.Merge(nil),
		"Set.Add": s.Add("x"), "Set.Remove": s.Remove("x"), "Counter.Add": c.Add(1), "GrowCounter.Add": g.Add(1), "Register.Set": r.Set(1), "Register.Delete": r.Delete(),
		"Attach to nil": made.Attach(nil, "m"),
	} {
		if !errors.Is(err, backend.ErrConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, z := range []replica{&m, &s, &c, &g, &r} {
		if _, err := z.MarshalBinary(); !errors.Is(err, backend.ErrConfig) {
			t.Error(err)
		}
		if _, err := z.Digest(); !errors.Is(err, backend.ErrConfig) {
			t.Error(err)
		}
		if _, err := z.Entry(backend.EntryID{}); !errors.Is(err, backend.ErrConfig) {
			t.Error(err)
		}
		for range z.EntryIDs() {
			t.Error("it has an entry")
		}
		if n := z.Stats(); n != (replicated.Stats{}) {
			t.Error(n)
		}
		z.Close()
	}
	if _, ok := m.Get("x"); ok || m.Len() != 0 || s.Len() != 0 || s.Has("x") || c.Value() != 0 || g.Value() != 0 {
		t.Error("it has a value")
	}
	if _, ok := r.Get(); ok {
		t.Error("it has a value")
	}
	for range m.All() {
		t.Error("it has a key")
	}
	for range m.Watch(t.Context()) {
		t.Error("it has a key")
	}
	for range s.All() {
		t.Error("it has an element")
	}
	for range c.Watch(t.Context()) {
	}
}

// Who has no room for a value that is set for a time keeps the one before it, which comes
// back when the later one is forgotten; a deletion finds room.
func TestNoRoomForWhatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &replicated.Options{MaxBytes: 10, Tombstones: time.Minute}
		a, full := newMap[string, string](t, o), newMap[string, string](t, o)
		must(t, a.Set("x", "1"))
		merge(t, a, full)
		for _, key := range []string{"y", "z"} {
			other := newMap[string, string](t, o)
			must(t, other.Set(key, "12345678"))
			merge(t, other, full)
		}
		must(t, a.SetTTL("x", "12", time.Minute))
		b, err := a.MarshalBinary()
		must(t, err)
		if err := full.Merge(b); !errors.Is(err, replicated.ErrFull) {
			t.Error(err)
		}
		holds(t, full, "x=1", "y=12345678", "z=12345678")
		after(time.Hour)
		holds(t, a)
		if err := a.Merge(entryOf(t, full, "x", "1")); err != nil {
			t.Error(err)
		}
		holds(t, a, "x=1")
		must(t, a.Delete("x"))
		merge(t, a, full)
		holds(t, full, "y=12345678", "z=12345678")
	})
}

// entryOf returns the entry of a map that has a key and a value.
func entryOf(t *testing.T, m *replicated.Map[string, string], key, value string) []byte {
	t.Helper()
	for id := range m.EntryIDs() {
		b, err := m.Entry(id)
		must(t, err)
		if strings.HasSuffix(string(b), key+value) {
			return b
		}
	}
	t.Fatalf("it has no entry %s=%s", key, value)
	return nil
}
