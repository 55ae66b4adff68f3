package etcd

import (
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// told is a Handler that keeps what it is told last.
type told struct {
	driver.Handler
	times int
	last  error
}

func (t *told) Trouble(_ string, err error) { t.times, t.last = t.times+1, err }

// What etcd's log holds of a cluster's frames is told when it becomes much, again
// when it is much more, and when other writes have driven it out.
func TestWeight(t *testing.T) {
	var w weight
	h := &told{}
	put := func(frames, bytes int) {
		for range frames {
			w.add(w.latest+1, bytes)
			w.tell(h)
		}
	}
	put(30_000, 10_000) // but the latest 10,000 alone count
	if h.times != 0 {
		t.Fatalf("100 MB are told: %v", h.last)
	}
	put(100, 1<<20)
	if h.times != 1 || h.last == nil || !strings.Contains(h.last.Error(), "128MiB") {
		t.Fatalf("200 MiB are told %d times: %v", h.times, h.last)
	}
	put(100, 1<<20)
	if h.times != 2 || !strings.Contains(h.last.Error(), "256MiB") {
		t.Fatalf("300 MiB are told %d times: %v", h.times, h.last)
	}
	w.pass(w.latest + 1000) // writes of others
	w.tell(h)
	if h.times != 2 {
		t.Errorf("after 1,000 writes of others %v is told", h.last)
	}
	w.pass(w.latest + keptWrites)
	w.tell(h)
	if h.times != 3 || h.last != nil || w.bytes != 0 || len(w.frames) != 0 {
		t.Errorf("after 10,000 writes of others there are %d bytes, and %v is told", w.bytes, h.last)
	}
}
