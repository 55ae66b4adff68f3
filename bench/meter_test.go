package main

import (
	"slices"
	"testing"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// A round is a question that finds a difference: a pull, each step after it, a push.
func TestRounds(t *testing.T) {
	frame := func(kind wire.Kind, size int) []byte {
		return wire.NewEncoder("c", "a").Message(kind, nil, size, func(b []byte) []byte { return append(b, make([]byte, size)...) })
	}
	m := newMeter()
	want := 0
	says := func(rounds int, from, to string, b []byte) {
		t.Helper()
		m.says(from, to, b)
		want += rounds
		if _, got := m.soFar(); got != want {
			t.Fatalf("%d rounds, want %d", got, want)
		}
	}
	says(0, "a", "b", frame(wire.Pull, 80)) // of equals
	says(0, "b", "a", frame(wire.Answer, 90))
	says(0, "a", "b", frame(wire.Pull, 80))
	says(0, "b", "a", frame(wire.Answer, 1000)) // a sketch
	says(2, "a", "b", frame(wire.Walk, 100))
	says(0, "b", "a", frame(wire.Walked, 100))
	says(1, "a", "b", frame(wire.Walk, 100))
	says(0, "b", "a", frame(wire.Pull, 80))
	says(1, "a", "b", frame(wire.Answer, 100_000)) // whole states
	says(1, "b", "a", frame(wire.Push, 100_000))
	says(0, "b", "a", frame(wire.Heartbeat, 100))
	var chunks [][]byte
	keep := func(b []byte) error { chunks = append(chunks, slices.Clone(b)); return nil }
	if err := wire.NewEncoder("c", "a").Chunks(frame(wire.Walk, 10_000), 2000, nil, 1, keep); err != nil || len(chunks) < 5 {
		t.Fatal(len(chunks), err)
	}
	says(1, "a", "b", chunks[0])
	for _, b := range chunks[1:] {
		says(0, "a", "b", b)
	}
	if pulls, bytes := m.compared(); pulls != 3 || bytes < 100_000 {
		t.Errorf("%d pulls, %d bytes", pulls, bytes)
	}
}

func TestWhatIsNotTried(t *testing.T) {
	for _, c := range []struct {
		way     way
		entries int
		tried   bool
	}{
		{entryWise, 2_500_000, true}, {wholeState, 1_000_000, true}, {wholeState, 2_500_000, false},
		{pushPull, 250_000, true}, {pushPull, 2_500_000, false},
	} {
		if why := (repair{Way: c.way, Entries: c.entries}).unable(); (why == "") != c.tried {
			t.Errorf("%s, %d entries: %q", c.way, c.entries, why)
		}
	}
}
