package main

import (
	"slices"
	"testing"
)

// A thin state is put together again by its entries, and by the whole of another.
func TestThinStates(t *testing.T) {
	from, byEntries, byAll := thinApart{newThin(100, 100)}, newThin(100, 0), newThin(100, 0)
	for id := range from.EntryIDs() {
		b, err := from.Entry(id)
		if err != nil || len(b) != entrySize {
			t.Fatalf("an entry of %d bytes: %v", len(b), err)
		}
		if err := byEntries.Merge(b); err != nil {
			t.Fatal(err)
		}
	}
	all, err := from.MarshalBinary()
	if err != nil || byAll.Merge(all) != nil {
		t.Fatal(err)
	}
	if want := slices.Collect(from.all); len(want) != 100 || !slices.Equal(slices.Collect(byEntries.all), want) || !slices.Equal(slices.Collect(byAll.all), want) {
		t.Errorf("%d entries became %d and %d", len(want), byEntries.count(), byAll.count())
	}
	if byAll.Merge([]byte("short")) == nil {
		t.Error("what is no entry is merged")
	}
}
