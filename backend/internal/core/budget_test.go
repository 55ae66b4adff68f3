package core

import (
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	b := newBucket(4, 16)
	taken := 0
	for now := time.Duration(0); now < 10*time.Second; now += time.Millisecond {
		if b.take(now, 1) {
			taken++
		}
	}
	if taken < 16+39 || taken > 16+40 {
		t.Errorf("%d were granted within 10 s, want the burst and 4 a second", taken)
	}
}

func TestBucketGoesIntoDebtOnce(t *testing.T) {
	b := newBucket(100, 100)
	if !b.take(0, 1000) || b.take(0, 1) {
		t.Error("one large item is allowed, and then nothing")
	}
	at := b.next(0)
	if at < 9*time.Second || b.take(at-time.Millisecond, 1) || !b.take(at, 1) {
		t.Errorf("the next at %v", at)
	}
	b.spend(at, 500)
	if b.take(at+4*time.Second, 1) {
		t.Error("what was spent is not owed")
	}
	if b.take(time.Hour, 100); b.level > 0 {
		t.Errorf("more than the burst was saved up: %v are left", b.level)
	}
}

// What is there for one is there now.
func TestBucketIsReady(t *testing.T) {
	b := newBucket(1, 1)
	if at := b.next(time.Second); at != time.Second {
		t.Errorf("a full bucket is ready at %v", at)
	}
}
