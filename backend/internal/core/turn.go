package core

import "time"

// Turn is one wait for a node's turn: it comes when every node before it has had
// the time of one turn. It is a value; whoever waits tells it each view.
//
// Only the view of an attached node moves the turn; without one it is by the
// position that the node had when the wait began. Losing the others brings nobody's
// turn forward; they may well have acted. And no turn comes while the node is
// detached, until grace is over: it may have missed what the others did, which it
// merges before it is attached again. Then it still looks for them for a moment of
// each wait: a cut may be over, and the node not know it yet.
type Turn struct {
	began    time.Duration
	length   time.Duration
	position int
	seen     bool // a view
	attached bool // by the latest view
	isolated bool
}

// NewTurn begins a wait, for turns of that length.
func NewTurn(now, length time.Duration) Turn { return Turn{began: now, length: length} }

// See handles a view: the position, whether the node is attached, and whether it
// has been detached for longer than grace.
func (t *Turn) See(position int, attached, isolated bool) {
	if attached || !t.seen {
		t.position = position
	}
	t.seen, t.attached, t.isolated = true, attached, isolated
}

// Left returns how long is left, by the views that were seen: 0 when the turn
// has come, Never while only another view can bring it.
func (t *Turn) Left(now time.Duration) time.Duration {
	turn := time.Duration(t.position) * t.length
	if !t.attached {
		turn = max(turn, min(isolatedTurn, t.length))
	}
	switch left := t.began + turn - now; {
	case left > 0:
		return left
	case t.attached || t.isolated:
		return 0
	default:
		return Never
	}
}
