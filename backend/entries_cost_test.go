package backend

import (
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// ledger is a state that has ids alone.
type ledger struct{ ids map[EntryID]struct{} }

func (l *ledger) MarshalBinary() ([]byte, error)   { return nil, nil }
func (l *ledger) Merge([]byte) error               { return nil }
func (l *ledger) Entry(id EntryID) ([]byte, error) { return id[:], nil }
func (l *ledger) EntryIDs() iter.Seq[EntryID] {
	return func(yield func(EntryID) bool) {
		for id := range l.ids {
			if !yield(id) {
				return
			}
		}
	}
}

func newLedger(n int) *ledger {
	l := &ledger{ids: map[EntryID]struct{}{}}
	for i := range n {
		l.ids[EntryIDOf(binary.BigEndian.AppendUint64(nil, uint64(i)))] = struct{}{}
	}
	return l
}

// A comparison of entries that have not changed looks at each id once, and allocates
// next to nothing: 250,000 take less than 20 ms.
func BenchmarkUnchangedEntries(b *testing.B) {
	for _, n := range []int{10_000, 250_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			st := &state{entries: newEntries(newLedger(n))}
			st.apart(core.Marshal{OnlyDigest: true})
			b.ReportAllocs()
			for b.Loop() {
				st.apart(core.Marshal{OnlyDigest: true})
			}
		})
	}
}

func TestUnchangedEntriesAllocateNothing(t *testing.T) {
	st := &state{entries: newEntries(newLedger(10_000))}
	st.apart(core.Marshal{OnlyDigest: true})
	if n := testing.AllocsPerRun(10, func() { st.apart(core.Marshal{OnlyDigest: true}) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

// A view is shared while somebody holds it and nothing changes. After that nothing is held
// that is in proportion to the entries.
func TestAViewIsSharedAndLetGo(t *testing.T) {
	l := newLedger(50_000)
	st := &state{entries: newEntries(l)}
	look := func(salt uint64) *reconcile.View {
		m := st.apart(core.Marshal{Apart: true, Salt: salt})
		if m.Err != nil || m.View == nil || m.Entries != uint64(len(l.ids))+1 || m.View.Len() != len(l.ids) {
			t.Fatalf("%v, a view of %d of %d", m.Err, m.Entries, len(l.ids))
		}
		return m.View
	}
	before := reachable()
	first := look(0)
	if grown, most := reachable()-before, 17*len(l.ids); grown > most {
		t.Errorf("a view of %d takes %d bytes, want at most %d", len(l.ids), grown, most)
	}
	if look(0) != first {
		t.Error("a view is made anew though nothing has changed")
	}
	if other := look(7); other == first || other.Salt() != 7 {
		t.Error("a view is not under the salt that was asked for")
	}
	l.ids[EntryIDOf([]byte("new"))] = struct{}{}
	if again := look(0); again == first || again.Salt() == first.Salt() {
		t.Error("a view is not made anew though something has changed")
	}
	runtime.KeepAlive(first)
	if grown := reachable() - before; grown > 64<<10 {
		t.Errorf("%d bytes are held when nobody compares", grown)
	}
}

// reachable is how much of the heap is, by a collection that is made for it.
func reachable() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// shifting is a state that changes each time its entries are told.
type shifting struct{ ledger }

func (s *shifting) EntryIDs() iter.Seq[EntryID] {
	s.ids[EntryIDOf(binary.BigEndian.AppendUint64([]byte("more"), uint64(len(s.ids))))] = struct{}{}
	return s.ledger.EntryIDs()
}

// What entries come to is said of those that were collected, whatever was counted before.
func TestEntriesThatChangeWhileTheyAreTold(t *testing.T) {
	st := &state{entries: newEntries(&shifting{*newLedger(100)})}
	for range 3 {
		for _, m := range []core.Marshal{{OnlyDigest: true}, {Apart: true}, {Apart: true, Salt: 7}} {
			out, l := st.apart(m), st.entries.of.(*shifting)
			digest, distinct := reconcile.Digest(slices.Collect(maps.Keys(l.ids)))
			if out.Err != nil || out.Digest != digest || out.Entries != uint64(len(distinct))+1 || out.View != nil && out.View.Len() != len(distinct) {
				t.Fatalf("%+v: %d entries and another digest, want %d", m, out.Entries-1, len(distinct))
			}
		}
	}
}
