package conformance

import (
	"bytes"
	"testing"
)

func bareSet() *set { return (&node{Node: Node{ID: 1, Name: "n"}}).newSet() }

func TestSetsMergeInAnyOrderAndMoreThanOnce(t *testing.T) {
	a := bareSet()
	updates := [][]byte{a.put([]byte("x")), a.put(nil), a.put(bytes.Repeat([]byte{0xff}, 1000))}
	full, err := a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	b, c := bareSet(), bareSet()
	for _, u := range [][]byte{updates[2], updates[0], updates[2], updates[1]} {
		if err := b.Merge(u); err != nil {
			t.Error(err)
		}
	}
	if err := c.Merge(full); err != nil {
		t.Error(err)
	}
	if err := holdAll(3, a, b, c); err != nil {
		t.Error(err)
	}
	one, err := digestedSet{a}.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if other, err := (digestedSet{b}).Digest(); err != nil || other != one {
		t.Errorf("digests %x and %x, %v", one, other, err)
	}
}

func TestSetsNoticeDamageAndLack(t *testing.T) {
	a, b := bareSet(), bareSet()
	update := a.put([]byte("payload"))
	if err := holdAll(1, a, b); err == nil {
		t.Error("a set that lacks an entry holds all")
	}
	for i := range update {
		damaged := bytes.Clone(update)
		damaged[i] ^= 0x10
		if err := bareSet().Merge(damaged); err == nil {
			t.Errorf("byte %d was altered and Merge took it", i)
		}
		if err := bareSet().Merge(update[:i]); err == nil && i > 0 {
			t.Errorf("Merge took the first %d bytes", i)
		}
	}
	if err := b.Merge(update[:3]); err == nil || holdAll(0, b) == nil {
		t.Error("a set forgets that it was given a damaged update")
	}
}
