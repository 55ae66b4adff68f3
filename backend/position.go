package backend

import (
	"context"
	"errors"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/dgryski/go-rendezvous"
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
// Position 0, or a turn that is not positive, returns at once, whatever the
// status, with one exception: a node that was away, since its process stood still
// or its link was lost, first merges what came meanwhile, for a few seconds at most
// (its view then says Detached, with ErrCatchingUp). And a node that becomes alone
// by isolation does not get its turn sooner: the others may still be there.
//
// WaitTurn returns ctx's error once ctx is done, and ErrClosed once c is closed.
func WaitTurn(ctx context.Context, c ClusterChannel, turn time.Duration) error {
	start := time.Now()
	turns := c.View().Position
	for {
		v := c.View()
		if v.Isolated {
			turns = max(turns, v.Position)
		} else {
			turns = v.Position
		}
		left := time.Duration(turns)*turn - time.Since(start)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case v.Status == Closed:
			return ErrClosed
		case errors.Is(v.Err, ErrCatchingUp):
			left = time.Minute
		case left <= 0:
			return nil
		}
		awaitChange(ctx, c, v, left)
	}
}

// awaitChange returns when the view is such that the turn may be another, after at
// most limit.
func awaitChange(ctx context.Context, c ClusterChannel, was View, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	catchingUp := errors.Is(was.Err, ErrCatchingUp)
	for v := range c.Watch(ctx) {
		if v.Position != was.Position || v.Isolated != was.Isolated || v.Status == Closed || errors.Is(v.Err, ErrCatchingUp) != catchingUp {
			return
		}
	}
}
