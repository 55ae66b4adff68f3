package core

import (
	"iter"
	"slices"
)

// maxRanges bounds a set: somebody who uses every second number only must not
// cost memory without end.
const maxRanges = 4096

// Has reports whether n is in the set.
func (rs Ranges) Has(n uint64) bool {
	i := rs.at(n)
	return i < len(rs) && rs[i].First <= n
}

// at returns the index of the first range that ends at n or above.
func (rs Ranges) at(n uint64) int {
	if k := len(rs); k == 0 || rs[k-1].Last < n {
		return len(rs) // the usual case: n is the newest
	}
	i, _ := slices.BinarySearchFunc(rs, n, func(r Range, n uint64) int {
		if r.Last < n {
			return -1
		}
		return 1
	})
	return i
}

// last returns the highest number in the set, 0 if there is none.
func (rs Ranges) last() uint64 {
	if len(rs) == 0 {
		return 0
	}
	return rs[len(rs)-1].Last
}

// Count returns how many numbers the set has.
func (rs Ranges) Count() (n uint64) {
	for _, r := range rs {
		n += r.Last - r.First + 1
	}
	return n
}

// Add puts first to last into the set.
func (rs *Ranges) Add(first, last uint64) {
	if first > last {
		return
	}
	s := *rs
	if k := len(s); k > 0 && s[k-1].Last < last && s[k-1].First <= first && first <= s[k-1].Last+1 {
		s[k-1].Last = last
		return
	}
	i := 0
	if first > 0 {
		i = s.at(first - 1) // the first that touches
	}
	j := i
	for j < len(s) && (s[j].First <= last || s[j].First == last+1) {
		first, last = min(first, s[j].First), max(last, s[j].Last)
		j++
	}
	*rs = slices.Replace(s, i, j, Range{first, last})
}

// Remove takes first to last out of the set.
func (rs *Ranges) Remove(first, last uint64) {
	s := *rs
	i := s.at(first)
	if i == len(s) || first > last || s[i].First > last {
		return
	}
	j, rest := i, [2]Range{}
	kept := rest[:0]
	for j < len(s) && s[j].First <= last {
		if s[j].First < first {
			kept = append(kept, Range{s[j].First, first - 1})
		}
		if s[j].Last > last {
			kept = append(kept, Range{last + 1, s[j].Last})
		}
		j++
	}
	*rs = slices.Replace(s, i, j, kept...)
}

// AddAll puts all of other into the set.
func (rs *Ranges) AddAll(other Ranges) {
	for _, r := range other {
		rs.Add(r.First, r.Last)
	}
}

// RemoveAll takes all of other out of the set.
func (rs *Ranges) RemoveAll(other Ranges) {
	for _, r := range other {
		rs.Remove(r.First, r.Last)
	}
}

// And returns what is in both sets.
func (rs Ranges) And(other Ranges) (both Ranges) {
	for r := range rs.overlaps(other) {
		both = append(both, r)
	}
	return both
}

func (rs Ranges) overlaps(other Ranges) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		for i, j := 0, 0; i < len(rs) && j < len(other); {
			r := Range{max(rs[i].First, other[j].First), min(rs[i].Last, other[j].Last)}
			if r.First <= r.Last && !yield(r) {
				return
			}
			if rs[i].Last < other[j].Last {
				i++
			} else {
				j++
			}
		}
	}
}

// Up returns the part of the set up to last.
func (rs Ranges) Up(last uint64) Ranges { return rs.And(Ranges{{1, last}}) }

// shed takes the lowest ranges out of a set that has too many, and returns them.
func (rs *Ranges) shed() (lowest Ranges) {
	if len(*rs) <= maxRanges {
		return nil
	}
	lowest = slices.Clone((*rs)[:maxRanges/2])
	*rs = slices.Delete(*rs, 0, maxRanges/2)
	return lowest
}

// valid reports whether the set, which came from outside, is one: in order,
// apart, and of numbers that can be.
func (rs Ranges) valid() bool {
	for i, r := range rs {
		if r.First == 0 || r.First > r.Last || r.Last > maxNumber || i > 0 && r.First <= rs[i-1].Last {
			return false
		}
	}
	return true
}
