package core

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestKeptIsTheNewest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, largest := range []int{1, 50, 3000, 100 << 10, 300 << 10} {
		var k kept
		said := map[uint64][]byte{}
		memory := 0
		for n := uint64(1); n <= 300; n++ {
			b := make([]byte, rnd.IntN(largest))
			for i := 0; i < len(b); i += 64 {
				b[i] = byte(rnd.Uint32())
			}
			said[n] = b
			memory += k.add(0, n, b)
			if got, ok := k.get(n); !ok || !bytes.Equal(got, b) {
				t.Fatalf("largest %d: the last, %d, is not kept", largest, n)
			}
			size := 0
			for m := k.first(n + 1); m <= n; m++ {
				got, ok := k.get(m)
				if !ok || !bytes.Equal(got, said[m]) {
					t.Fatalf("largest %d: after %d, %d is not as it was: %v", largest, n, m, ok)
				}
				size += len(got)
			}
			if size != k.size || size > keptBytes && k.first(n+1) != n {
				t.Fatalf("largest %d: %d bytes are kept, counted as %d", largest, size, k.size)
			}
		}
		if _, ok := k.get(1001); ok {
			t.Error("a number that was not given")
		}
		if freed := k.clear(); freed != memory || memory > 3*keptBytes {
			t.Errorf("largest %d: %d bytes freed of %d", largest, freed, memory)
		}
	}
}

func TestKeptFillsItsRing(t *testing.T) {
	var k kept
	for n := uint64(1); n <= 100_000; n++ {
		k.add(0, n, make([]byte, 100))
	}
	if k.size < keptBytes-200 {
		t.Errorf("%d bytes are kept of %d", k.size, keptBytes)
	}
}

func TestKeptAreCounted(t *testing.T) {
	var k kept
	for n := uint64(1); n <= 3*keptItems; n++ {
		k.add(0, n, nil)
	}
	if n := len(k.entries) - k.head; n != keptItems || len(k.entries) > 3*keptItems {
		t.Errorf("%d empty updates are kept, in %d", n, len(k.entries))
	}
}

func TestKeptGetsNewNumbers(t *testing.T) {
	var k kept
	for n := uint64(1); n <= 10; n++ {
		k.add(0, n, make([]byte, keptBytes/8))
	}
	first, _ := k.get(k.first(0))
	last := k.renumber()
	if got, ok := k.get(1); last != 8 || !ok || &got[0] != &first[0] {
		t.Errorf("the last is %d, the first %v", last, ok)
	}
}
