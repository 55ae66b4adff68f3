package core

import (
	"fmt"
	"testing"
	"time"
)

// cluster returns a core that knows n other members and has keys states.
func cluster(n, keys int) (*Core, time.Duration) {
	now := time.Second
	c := New(Config{
		Self: Member{Name: "self", Instance: "self"}, Heartbeat: 500 * time.Millisecond, Grace: 10 * time.Second, Settle: 10 * time.Second,
		Sync: 30 * time.Second, Seed: 1,
	}, now)
	for i := range keys {
		c.Step(now, StateAdded{Key: fmt.Sprintf("key-%d", i)})
	}
	c.Step(now, LinkUp{})
	c.Step(now, Received{From: "self", Message: &Heartbeat{Count: 1}})
	for i := range n {
		name := fmt.Sprintf("n%d", i)
		c.Step(now, Received{From: name, Message: &Heartbeat{Member: Member{Name: name}, Count: 1, Interval: time.Minute, Worth: Whole}})
		c.Effects()
	}
	return c, now
}

func BenchmarkReceive(b *testing.B) {
	c, now := cluster(100, 10)
	origin, key := []byte("n5"), []byte("key-3")
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		_, r, _ := c.Receive(now, origin, key, 0, n)
		c.Queued(now, r, true)
		c.UpdateMerged(now, r, nil)
	}
}

func BenchmarkAssign(b *testing.B) {
	c, now := cluster(100, 10)
	data := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		_, n := c.Assign("key-3", data)
		c.Sent(now, "key-3", n)
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	c, now := cluster(1000, 10)
	h := &Heartbeat{Member: Member{Name: "n5"}, Interval: time.Minute, Worth: Whole, Numbers: []Last{{"key-1", 7}, {"key-2", 9}}}
	e := Received{From: "n5", Message: h}
	var event Event = e
	b.ReportAllocs()
	h.Count = 1
	for b.Loop() {
		h.Count++
		c.Step(now, event)
	}
}
