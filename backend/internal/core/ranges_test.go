package core

import (
	"math/rand/v2"
	"testing"
)

// TestRangesAreSets compares the ranges with a plain set.
func TestRangesAreSets(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const limit = 60
	for range 500 {
		var a, b Ranges
		as, bs := map[uint64]bool{}, map[uint64]bool{}
		for range rnd.IntN(12) {
			first := 1 + rnd.Uint64N(limit)
			last := first + rnd.Uint64N(10)
			into, set := &a, as
			if rnd.IntN(2) == 0 {
				into, set = &b, bs
			}
			if rnd.IntN(3) > 0 {
				into.Add(first, last)
			} else {
				into.Remove(first, last)
			}
			for n := first; n <= last; n++ {
				set[n] = rnd.IntN(3) >= 0 && into.Has(n)
			}
		}
		check(t, "a", a, as)
		check(t, "b", b, bs)
		both, all, rest := map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}
		for n := uint64(1); n <= limit+10; n++ {
			both[n], all[n], rest[n] = as[n] && bs[n], as[n] || bs[n], as[n] && !bs[n]
		}
		check(t, "both", a.And(b), both)
		union := append(Ranges(nil), a...)
		union.AddAll(b)
		check(t, "union", union, all)
		left := append(Ranges(nil), a...)
		left.RemoveAll(b)
		check(t, "rest", left, rest)
	}
}

func check(t *testing.T, what string, rs Ranges, want map[uint64]bool) {
	t.Helper()
	n := uint64(0)
	for i := uint64(1); i <= 75; i++ {
		if rs.Has(i) != want[i] {
			t.Fatalf("%s: %v has %d: %v", what, rs, i, rs.Has(i))
		}
		if want[i] {
			n++
		}
	}
	if !rs.valid() || rs.Count() != n {
		t.Fatalf("%s: %v is not in order, or does not count %d", what, rs, n)
	}
	for i := range rs {
		if i > 0 && rs[i].First == rs[i-1].Last+1 {
			t.Fatalf("%s: %v: two that touch", what, rs)
		}
	}
}

func TestRangesAddAndRemove(t *testing.T) {
	for _, c := range []struct {
		from        Ranges
		first, last uint64
		added, left string
	}{
		{nil, 3, 5, "{3-5}", "{}"},
		{Ranges{{1, 2}}, 3, 3, "{1-3}", "{1-2}"},
		{Ranges{{1, 2}}, 4, 4, "{1-2,4}", "{1-2}"},
		{Ranges{{5, 9}}, 1, 4, "{1-9}", "{5-9}"},
		{Ranges{{5, 9}}, 7, 7, "{5-9}", "{5-6,8-9}"},
		{Ranges{{1, 2}, {5, 6}, {9, 9}}, 2, 8, "{1-9}", "{1,9}"},
		{Ranges{{1, 2}, {5, 6}}, 1, maxNumber, "{1-4611686018427387904}", "{}"},
		{Ranges{{5, 9}}, 9, 5, "{5-9}", "{5-9}"},
	} {
		add, remove := append(Ranges(nil), c.from...), append(Ranges(nil), c.from...)
		add.Add(c.first, c.last)
		remove.Remove(c.first, c.last)
		if add.String() != c.added || remove.String() != c.left {
			t.Errorf("%v with %d to %d: %v and %v, want %v and %v", c.from, c.first, c.last, add, remove, c.added, c.left)
		}
	}
}

func TestRangesFromOutside(t *testing.T) {
	for _, rs := range []Ranges{{{0, 1}}, {{2, 1}}, {{1, 5}, {5, 6}}, {{4, 5}, {1, 2}}, {{1, maxNumber + 1}}} {
		if rs.valid() {
			t.Errorf("%v counts as a set", rs)
		}
	}
}

func TestRangesAreBounded(t *testing.T) {
	s := &stream{}
	for n := uint64(2); n <= 4*maxRanges; n += 2 {
		s.queued(n)
		s.merged(n, true)
	}
	for what, set := range map[string]Ranges{"arrived": s.arrived, "missing": s.missing, "lost": s.lost} {
		if len(set) > maxRanges {
			t.Errorf("%s has %d ranges", what, len(set))
		}
	}
	total := s.arrived.Count() + s.missing.Count() + s.lost.Count()
	if total != s.top {
		t.Errorf("%d numbers of %d are accounted for", total, s.top)
	}
}
