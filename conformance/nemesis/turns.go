package nemesis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// turns has things done that should be done once, by whose turn it is.
type turns struct {
	w     *world
	count int
	over  chan struct{}
}

func newTurns(w *world) *turns { return &turns{w: w, over: make(chan struct{})} }

// every is how often something is to be done.
const every = 2 * time.Second

// start has something done again and again, until end is called. What has begun
// then ends later.
func (t *turns) start() *sync.WaitGroup {
	var all sync.WaitGroup
	all.Go(func() {
		again := time.NewTicker(every)
		defer again.Stop()
		for {
			select {
			case <-t.over:
				return
			case <-again.C:
				d := t.deed()
				all.Go(func() { d.done(t.w.alive()) })
			}
		}
	})
	return &all
}

func (t *turns) end() { close(t.over) }

// exactly has something done while nothing is broken: by one node. Updates took
// about so long to reach all.
func (t *turns) exactly(nodes []*node, reach time.Duration) {
	w, d, began := t.w, t.deed(), time.Now()
	by := d.done(nodes)
	if w.ctx.Err() != nil || len(by) == 1 {
		return
	}
	if late := max(reach, w.late(began)); late > w.bounds.turn/4 {
		w.notJudged(once, "%s was done by %v, and updates were up to %v late", d.name, by, late)
		return
	}
	w.fail(once, "%s was done %d times, by %v, and nothing was broken", d.name, len(by), by)
}

// deed is one thing to be done.
type deed struct {
	name string
	w    *world

	mu sync.Mutex
	by []*node
}

func (t *turns) deed() *deed {
	t.count++
	d := &deed{name: fmt.Sprintf("alert-%d", t.count), w: t.w}
	t.w.ledger.write(delivered, d.name, deedSize)
	return d
}

// done has each of nodes wait for its turn, and do it unless it knows that it was
// done. It returns who did. A turn comes in time, whatever is broken: then one of
// those who live to the end has done it.
func (d *deed) done(nodes []*node) []*node {
	w := d.w
	limit := time.Duration(len(w.schedule.names()))*w.bounds.turn + w.bounds.views
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(n.ctx, 5*limit) // the canary decides
			defer cancel()
			began := w.canary.Now()
			did, err := n.seat.act(ctx, d.name, w.bounds.turn)
			w.judged(once)
			switch waited := w.canary.Now() - began; {
			case n.ending.Load() || w.ctx.Err() != nil:
			case waited > limit:
				w.fail(once, "%s waited %v for its turn to do %s: %s", n, waited, d.name, show(n.view()))
			case errors.Is(err, context.DeadlineExceeded):
				w.notJudged(once, "%s waited %v for its turn to do %s, while the process got little time", n, 5*limit, d.name)
			case err != nil:
				w.fail(once, "%s: WaitTurn: %v", n, err)
			}
			if did {
				d.mu.Lock()
				d.by = append(d.by, n)
				d.mu.Unlock()
				n.note(delivered, d.name, deedSize)
			}
		})
	}
	all.Wait()
	return d.by
}
