package backend

import (
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// TestNothingToDoWakesNobody holds a node at rest to the wake-ups that it needs: what
// puts off the next tick only is noticed when that one would have come.
func TestNothingToDoWakesNobody(t *testing.T) {
	e := newEngine(core.Config{
		Self: core.Member{Name: "a", Instance: "1"}, Heartbeat: time.Second, Grace: time.Minute, Settle: time.Minute, Sync: time.Hour,
	}, func(f core.Effect) any { return f })
	woken := func() bool {
		select {
		case <-e.wake:
			return true
		default:
			return false
		}
	}
	e.step(core.LinkUp{})
	if !woken() {
		t.Error("the first heartbeat wakes nobody")
	}
	_, next := e.take()
	if woken(); next == core.Never {
		t.Fatal("nothing is due")
	}
	e.step(core.Received{From: "2", Message: &core.Void{Instance: "3"}})
	if woken() {
		t.Error("a message that changes nothing wakes the loop")
	}
	e.step(core.Received{From: "2", Message: &core.Heartbeat{Member: core.Member{Name: "b"}, Count: 1, Interval: time.Second}})
	if !woken() {
		t.Error("a member that has come wakes nobody")
	}
	e.take()
	e.mu.Lock()
	e.until = core.Never
	e.mu.Unlock()
	e.step(core.Received{From: "2", Message: &core.Void{Instance: "3"}})
	if !woken() {
		t.Error("a tick that is due sooner than the loop waits for wakes nobody")
	}
	if todo, _ := e.take(); len(todo) > 0 {
		t.Fatalf("something is to be done: %v", todo)
	}
	e.tick()
	if e.core.Next() <= e.now() {
		t.Error("what is due stays so")
	}
}
