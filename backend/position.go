package backend

import (
	"context"
	"errors"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/dgryski/go-rendezvous"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// Primary reports whether this node is the one to do what one node of the cluster
// should do: it is at position 0, and Attached. A node that lost the others is
// never primary, even where it became sole member; two nodes can be primary at
// once only while their views differ, for as long as detection takes.
func (v View) Primary() bool { return v.Position == 0 && v.Status == Attached }

// Owner returns the member that should handle key, the same on all nodes whose
// views agree. It is chosen by rendezvous hashing of the members' names: a join
// or a leave moves only the keys of the member that came or went, and a member
// that restarts under its name has its keys again. Of members with one name the
// first in the list owns. Without members it is the zero Member.
//
// It takes time in proportion to the number of members.
func (v View) Owner(key string) Member {
	first := make(map[string]Member, len(v.Members))
	names := make([]string, 0, len(v.Members))
	for _, m := range v.Members {
		if _, ok := first[m.Name]; !ok {
			first[m.Name] = m
			names = append(names, m.Name)
		}
	}
	return first[rendezvous.New(names, xxhash.Sum64String).Lookup(key)]
}

// Owns reports whether this node is the one to handle key: it is the key's Owner,
// and Attached, as with [View.Primary]. A caller that would rather act twice than
// not at all compares Owner with Self.
func (v View) Owns(key string) bool {
	if v.Status != Attached || v.Position >= len(v.Members) {
		return false
	}
	owner, self := v.Owner(key), v.Self()
	return owner.Name == self.Name && owner.Instance == self.Instance
}

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
	start := time.Now()
	wait := core.NewTurn(0, max(turn, 0))
	for {
		v := c.View()
		wait.See(v.Position, v.Status == Attached, v.Isolated && !errors.Is(v.Err, ErrCatchingUp))
		left := wait.Left(time.Since(start))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case v.Status == Closed:
			return ErrClosed
		case left <= 0 || turn <= 0:
			return nil
		}
		awaitChange(ctx, c, v, left)
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
