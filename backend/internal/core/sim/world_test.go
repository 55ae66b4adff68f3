package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestEventsComeInOrder(t *testing.T) {
	var q events
	var want, got []time.Duration
	for range 1000 {
		at := time.Duration(rand.IntN(100))
		want = append(want, at)
		q.add(at, func() {})
	}
	slices.Sort(want)
	last := uint64(0)
	for {
		e, ok := q.next(1000)
		if !ok {
			break
		}
		if len(got) > 0 && got[len(got)-1] == e.at && e.order < last {
			t.Fatal("events of one time are not in the order of adding")
		}
		got, last = append(got, e.at), e.order
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSet(t *testing.T) {
	var a, b set
	for _, e := range []int{0, 63, 64, 1000} {
		a.add(e)
	}
	b.merge(decodeSet(a.encode(100)))
	if b.digest() != a.digest() || b.count() != 4 || !b.has(1000) || b.has(999) {
		t.Errorf("%v is read as %v", a, b)
	}
	b.add(5)
	if e := b.minus(a); e != 5 {
		t.Errorf("b without a begins with %d, want 5", e)
	}
	if a.minus(b) != -1 {
		t.Error("a has something that b lacks")
	}
}

// TestGeneratedScenariosAreText wants what is made up to be what is read again.
func TestGeneratedScenariosAreText(t *testing.T) {
	for seed := range uint64(200) {
		s := Generate(seed)
		again, err := Parse(s.String())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, s)
		}
		if again.String() != s.String() {
			t.Fatalf("seed %d is read, written and read as\n%s, not\n%s", seed, again, s)
		}
	}
}
