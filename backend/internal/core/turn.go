package core

import "time"

// Turn is one wait for a node's turn: it comes when every node before it has had
// the time of one turn. It is a value; whoever waits tells it each view.
//
// Only a view that can be trusted moves the turn: that of an attached node, or
// the one that a node which is on its own had when the wait began. Losing the
// others brings nobody's turn forward; they may well have acted. And no turn
// comes while the node is detached, until grace is over: it may have missed what
// the others did, which it merges before it is attached again.
type Turn struct {
	began    time.Duration
	length   time.Duration
	position int
	trusted  bool // position is of a view that was trusted
	allowed  bool // by the latest view
}

// NewTurn begins a wait, for turns of that length.
func NewTurn(now, length time.Duration) Turn { return Turn{began: now, length: length} }

// See handles a view: the position, whether the node is attached, and whether it
// has been detached for longer than grace.
func (t *Turn) See(position int, attached, isolated bool) {
	if attached || !t.trusted {
		t.position = position
	}
	t.trusted = t.trusted || attached || isolated
	t.allowed = attached || isolated
}

// Left returns how long is left, by the views that were seen: 0 when the turn
// has come, Never while only another view can bring it.
func (t *Turn) Left(now time.Duration) time.Duration {
	left := t.began + time.Duration(t.position)*t.length - now
	switch {
	case left > 0:
		return left
	case t.allowed:
		return 0
	default:
		return Never
	}
}
