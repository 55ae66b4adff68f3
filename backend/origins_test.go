package backend

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestOriginTellsDuplicatesFromLateOnes(t *testing.T) {
	now := time.Now()
	rng := rand.New(rand.NewPCG(1, 2))
	o := &origin{}
	const n = 5000
	order := rng.Perm(n)
	for _, i := range order {
		seq := uint64(i + 1)
		if !o.fresh(seq) {
			t.Fatalf("%d is new", seq)
		}
		o.take(seq, now)
		if o.fresh(seq) {
			t.Fatalf("%d is not new any more", seq)
		}
	}
	if o.base != n || o.top != n || !o.gapSince.IsZero() {
		t.Fatalf("base %d, top %d, gap %v", o.base, o.top, o.gapSince)
	}
}

func TestOriginGap(t *testing.T) {
	os := newOrigins()
	now := time.Now()
	os.get([]byte("x"), now).take(1, now)
	if os.announce([]byte("x"), 1) {
		t.Fatal("a gap where there is none")
	}
	if !os.announce([]byte("x"), 4) {
		t.Fatal("2 to 4 are missing")
	}
	if due, next := os.gaps(time.Now()); len(due) != 0 || next == 0 {
		t.Fatalf("due %v at once, next in %v", due, next)
	}
	if due, _ := os.gaps(time.Now().Add(gapDelay)); len(due) != 1 {
		t.Fatalf("due after the delay: %v", due)
	}
	os.cover([]mark{{"x", 4}})
	if due, next := os.gaps(time.Now().Add(gapDelay)); len(due) != 0 || next != 0 {
		t.Fatalf("repaired, but due %v, next %v", due, next)
	}
	o := os.all["x"]
	if !o.fresh(3) || o.fresh(1) {
		t.Fatal("3 has not arrived although it is repaired, and 1 has")
	}
}

func TestOriginWindow(t *testing.T) {
	now := time.Now()
	o := &origin{}
	o.take(1, now)
	o.take(3*windowSize, now)
	if !o.fresh(3*windowSize-1) || o.fresh(3*windowSize) || o.fresh(1) || !o.fresh(5) {
		t.Fatal("wrong after a leap beyond the window")
	}
}

func TestOriginsAreBounded(t *testing.T) {
	os := newOrigins()
	now := time.Now()
	for i := range 2 * maxOrigins {
		os.get([]byte{byte(i), byte(i >> 8), byte(i >> 16)}, now.Add(time.Duration(i)))
	}
	if len(os.all) > maxOrigins {
		t.Fatalf("%d origins", len(os.all))
	}
}
