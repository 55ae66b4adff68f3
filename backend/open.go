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

// closePatience is what Close allows itself beyond its context, for what ends
// as soon as it is told.
const closePatience = 500 * time.Millisecond

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
	n.publish(View{Members: []Member{n.self}, Status: Detached, Since: time.Now(), Err: errOpening, Epoch: 1})
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
	n.workers.Go(n.controlLoop)
	n.workers.Go(n.exchangeLoop)
	n.workers.Go(n.answerLoop)
	return n, nil
}

var errOpening = errors.New("opening")

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

// Close implements ClusterChannel.
func (n *node) Close(ctx context.Context) error {
	n.closeOnce.Do(func() {
		go func() {
			defer close(n.closed)
			n.closeErr = n.shutDown(ctx)
		}()
	})
	<-n.closed
	return n.closeErr
}

// shutDown ends everything in the order that keeps the goodbye the last frame.
func (n *node) shutDown(ctx context.Context) error {
	n.stateMu.Lock()
	n.closing.Store(true)
	n.stateMu.Unlock()
	n.out.close()
	n.flush(ctx)
	n.stopWork()
	for _, st := range *n.states.Load() {
		st.end()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.workers.Wait()
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		select { // what only has to be told ends now
		case <-ended:
		case <-time.After(closePatience):
			err = fmt.Errorf("close: %w; a state's Merge or MarshalBinary has not returned", ctx.Err())
		}
	}
	n.goodbye(ctx)
	n.link.closing(ctx)
	n.cancel()
	select {
	case <-n.linkDone:
	case <-ctx.Done():
		select { // a driver that keeps to its ctx ends now
		case <-n.linkDone:
		case <-time.After(closePatience):
			err = errors.Join(err, fmt.Errorf("close: %w; the driver has not closed", ctx.Err()))
		}
	}
	n.met.unregister()
	v := *n.view.Load()
	v.Status, v.Since, v.Err = Closed, time.Now(), nil
	v.Epoch++
	n.publish(v)
	return err
}

// flush waits until the outbox is empty, while there is a link and time.
func (n *node) flush(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n.out.queued() > 0 && n.link.up() && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
