package backend

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// openPatience is how long Open waits for the first attempt to say that the
// configuration is bad.
const openPatience = 900 * time.Millisecond

// Open joins the cluster that c names. It returns within a second, with one
// exception: where c.OnStartFailure is Fail it waits for the first attempt to
// end. ctx bounds the opening only, not the life of the channel.
//
// Bad configuration is an error that wraps ErrConfig and names the key. A
// cluster that cannot be reached is ErrUnavailable where c.OnStartFailure is
// Fail; else the channel starts Detached and attaches when it can.
func Open(ctx context.Context, c Config) (ClusterChannel, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.Driver == nil {
		b, ok := Lookup(c.Backend)
		if !ok {
			return nil, unknownBackend(c.Backend)
		}
		c.Driver = b.Open
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	n := newNode(c)
	if err := n.met.register(c.Registerer); err != nil {
		n.cancel()
		return nil, err
	}
	first, opened := make(chan error), make(chan struct{})
	go n.linkLoop(first, opened)
	err := n.awaitFirst(ctx, first)
	close(opened)
	if err != nil {
		n.cancel()
		<-n.linkDone
		n.met.unregister()
		return nil, err
	}
	n.workers.Go(n.sendLoop)
	n.workers.Go(n.laneLoop)
	n.workers.Go(n.bulkLoop)
	n.workers.Go(func() { n.engine.run(n.work.Done(), n.carryOut) })
	return n, nil
}

// awaitFirst waits for the outcome of the first attempt to open the driver, as
// far as the start policy asks.
func (n *node) awaitFirst(ctx context.Context, first <-chan error) error {
	fail := n.cfg.OnStartFailure == Fail
	patience := time.NewTimer(openPatience)
	defer patience.Stop()
	limit := patience.C
	if fail {
		limit = nil
	}
	select {
	case err := <-first:
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrConfig) && !fail:
			return nil
		default:
			return fmt.Errorf("open %s: %w", n.cfg.Backend, err)
		}
	case <-limit:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
