package main

import (
	"maps"
	"slices"
	"testing"
)

// A store that is taken apart is put together again entry by entry.
func TestEntriesOfAStore(t *testing.T) {
	from, to := apart{full(100)}, apart{newStore()}
	for _, id := range slices.Collect(from.EntryIDs()) {
		b, err := from.Entry(id)
		if err != nil || len(b) != entrySize {
			t.Fatalf("an entry of %d bytes, want %d: %v", len(b), entrySize, err)
		}
		if err := to.Merge(b); err != nil {
			t.Fatal(err)
		}
	}
	x, y := slices.Sorted(maps.Keys(from.have)), slices.Sorted(maps.Keys(to.have))
	if len(x) != 100 || !slices.Equal(x, y) {
		t.Errorf("%d entries became %d", len(x), len(y))
	}
	if b, err := to.Entry([16]byte{1, 2, 3}); b != nil || err != nil {
		t.Errorf("an entry that is not there: %q, %v", b, err)
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[float64]string{-5: "0 B", 999: "999 B", 1500: "1.5 kB", 50e6: "50.0 MB"} {
		if got := size(bytes); got != want {
			t.Errorf("%g bytes are %q, want %q", bytes, got, want)
		}
	}
}
