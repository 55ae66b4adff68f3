package backend

import (
	"context"
	"errors"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// WaitTurn waits until the nodes before this one have had their turns: it
// returns nil once position x turn has passed since the call. What an earlier
// node did within its turn has then reached this one, which can see that nothing
// is left to do. This is how Alertmanagers avoid sending a notification twice.
//
// The position is that of the view as it changes: when a node in front leaves,
// the wait becomes shorter by one turn, or ends; when one joins in front, longer.
// Position 0 returns at once, and so does a turn that is not positive.
//
// While the node is Detached no turn comes, not even that of position 0: the
// others may act, and this node would not know. It waits until it is Attached
// again, for which it merges what came meanwhile, or for Timing.Grace at most:
// then it is isolated, and goes by the position that it had when the wait began,
// since the others may still be there. A node that is isolated before the call
// goes by the position of its view, which is 0 where it became sole member; but it
// looks for the others for 2 s first, or for one turn if that is shorter: they may
// be there again, and it not know it yet.
//
// WaitTurn returns ctx's error once ctx is done, and ErrClosed once c is closed.
func WaitTurn(ctx context.Context, c ClusterChannel, turn time.Duration) error {
	return NewTurn(c, turn).Wait(ctx, func(v View) (int, bool) { return v.Position, false })
}

// A Turn is one wait for this node's turn, as [WaitTurn] is, for those who have an
// order of their own, or who wait for other things as well: a Wait that was ended by
// its context can be followed by another, which goes on where that was. Its method is
// for one goroutine at a time.
type Turn struct {
	cluster ClusterChannel
	length  time.Duration
	began   time.Time
	held    bool // by the latest view
	wait    core.Turn
}

// NewTurn begins a wait, for turns of that length.
func NewTurn(c ClusterChannel, length time.Duration) *Turn {
	return &Turn{cluster: c, length: length, began: time.Now(), wait: core.NewTurn(0, max(length, 0))}
}

// Wait waits as [WaitTurn] does, by the place that this node has in the caller's
// order: 0 is first. place is called with each view. While it says that the turns are
// held, none comes; after that they begin anew, so that they are apart again.
func (t *Turn) Wait(ctx context.Context, place func(View) (place int, held bool)) error {
	for {
		v := t.cluster.View()
		at, held := place(v)
		left := t.left(v, at, held)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case v.Status == Closed:
			return ErrClosed
		case left <= 0:
			return nil
		}
		awaitChange(ctx, t.cluster, v, left)
	}
}

// left returns how long is left until the turn, if nothing changes.
func (t *Turn) left(v View, place int, held bool) time.Duration {
	t.wait.See(place, v.Status == Attached, v.Isolated && !errors.Is(v.Err, ErrCatchingUp))
	if t.held && !held {
		t.began = time.Now()
	}
	t.held = held
	switch {
	case held:
		return core.Never
	case t.length <= 0:
		return 0
	default:
		return t.wait.Left(time.Since(t.began))
	}
}

// awaitChange returns when there is a view after was, after at most limit.
func awaitChange(ctx context.Context, c ClusterChannel, was View, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, min(limit, time.Minute))
	defer cancel()
	for v := range c.Watch(ctx) {
		if v.Epoch != was.Epoch || v.Status == Closed {
			return
		}
	}
}
