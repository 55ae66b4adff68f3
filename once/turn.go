package once

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// wait is one call's wait for its turn.
type wait struct {
	*Group
	*rivals
	key   string
	began time.Time
	from  *follower // of what is told of the key
}

// await returns the result for key as soon as there is one, or found false when it is
// this node's turn.
func (g *Group) await(ctx context.Context, key string) (r Result, found bool, err error) {
	ctx, stop := g.calls.whileOpen(ctx)
	defer stop()
	if err := g.cluster.WaitReady(ctx); err != nil {
		return Result{}, false, cmp.Or(reason(ctx), err)
	}
	from, leave := g.ledger.follow(key)
	defer leave()
	w := &wait{Group: g, rivals: newRivals(), key: key, began: time.Now(), from: from}
	turn := backend.NewTurn(g.cluster, g.opts.Turn)
	for {
		comes, err := w.look(ctx, turn)
		if r, found := g.ledger.result(key); found {
			return r, true, nil
		}
		switch {
		case comes && !w.meets(ctx) && !w.news():
			return Result{}, false, nil
		case ctx.Err() != nil || errors.Is(err, backend.ErrClosed):
			return Result{}, false, cmp.Or(reason(ctx), err)
		}
	}
}

// look waits for the turn, and reports whether it has come. It is ended by whatever is
// told of the key, or by an attempt that has taken too long.
func (w *wait) look(ctx context.Context, turn *backend.Turn) (comes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.patience())
	defer cancel()
	defer w.ledger.wakes(w.from, cancel)()
	if _, found := w.ledger.result(w.key); found {
		return false, nil
	}
	err = turn.Wait(ctx, w.place)
	return err == nil, err
}

// meets reports whether this node met a member just now, after a pause in which the
// results of that may come.
func (w *wait) meets(ctx context.Context) bool {
	left := min(meeting, w.opts.Turn) - time.Since(w.known.see(w.cluster.View()))
	if left <= 0 || time.Since(w.began) > meetings {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	defer w.ledger.wakes(w.from, cancel)()
	<-ctx.Done()
	return true
}

// limit is for how long this node waits for another one that acts.
func (w *wait) limit() time.Duration { return w.opts.Limit + w.opts.Turn }

// patience is how long it is until the first of those that act has taken too long.
func (w *wait) patience() time.Duration {
	least := w.limit()
	for _, since := range w.acting {
		if left := w.limit() - time.Since(since); left > 0 {
			least = min(least, left)
		}
	}
	return least
}

// place is this node's place in the order for the key. The turns are held while
// another node acts, and while this one is away and may hear of it yet: else all that
// come back at once would have their turns at once.
func (w *wait) place(v backend.View) (place int, held bool) {
	told, all := w.ledger.take(w.from)
	if all || !w.seated || v.Epoch != w.epoch {
		w.seat(v, w.order(v))
		w.news()
	}
	for instance := range told {
		w.note(instance, w.ledger.attempt(w.key, instance))
	}
	held = v.Status != backend.Attached && (!v.Isolated || errors.Is(v.Err, backend.ErrCatchingUp))
	return w.before(), held || w.othersAct(w.limit())
}

// news looks at the attempts of all members, and reports whether there is one that this
// call has not been told of yet.
func (w *wait) news() (any bool) {
	for instance := range w.places {
		any = w.note(instance, w.ledger.attempt(w.key, instance)) || any
	}
	return any
}

// order yields the members in the order of their turns, if none has failed.
func (w *wait) order(v backend.View) iter.Seq[backend.Member] {
	if w.opts.ByPosition {
		return slices.Values(v.Members)
	}
	return v.Order(w.key)
}
