package peer

import (
	"slices"
	"testing"
)

func TestStoreKeepsTheNewest(t *testing.T) {
	s := New(3).Store
	var passed []int
	s.pass = func(b []byte) { passed = append(passed, len(b)) }
	for id := range uint64(5) {
		s.Say(id, 100+int(id))
	}
	all, err := s.MarshalBinary()
	if err != nil || len(all) != 102+103+104 {
		t.Errorf("the state has %d bytes, %v", len(all), err)
	}
	other := New(0).Store
	other.pass = func(b []byte) { passed = append(passed, len(b)) }
	for range 2 { // the second time nothing is new
		if err := other.Merge(all); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(passed)
	if want := []int{100, 101, 102, 102, 103, 103, 104, 104}; !slices.Equal(passed, want) {
		t.Errorf("records of %v bytes were told, want %v", passed, want)
	}
	if _, ok := other.Arrival(2); !ok || other.Count() != 3 || s.Count() != 5 {
		t.Errorf("%d and %d records have arrived: %v", s.Count(), other.Count(), other.Arrivals())
	}
	sum, _ := s.Digest()
	if same, _ := other.Digest(); same != sum {
		t.Errorf("the digests are %x and %x", sum, same)
	}
	if other.Merge(all[:50]) == nil {
		t.Error("half a record is merged")
	}
}
