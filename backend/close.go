package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// closePatience is what Close allows itself beyond its context, for what ends
// as soon as it is told.
const closePatience = 500 * time.Millisecond

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

// shutDown ends everything in the order that keeps the goodbye the last frame. All
// that takes time is done while heartbeats go on, which say that this node is
// about to leave.
func (n *node) shutDown(ctx context.Context) error {
	n.stateMu.Lock()
	n.closing.Store(true)
	n.stateMu.Unlock()
	n.out.close()
	n.engine.step(core.Close{})
	n.flush(ctx, func() bool { return n.out.queued() == 0 })
	err := n.endMerges(ctx)
	n.takeLeave(ctx)
	n.stopWork()
	for _, st := range *n.states.Load() {
		st.end()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.workers.Wait()
	}()
	if !waitEnd(ctx, ended) && err == nil {
		err = errStuck(ctx)
	}
	n.goodbye(ctx)
	n.link.closing(ctx)
	n.cancel()
	if !waitEnd(ctx, n.linkDone) {
		err = errors.Join(err, fmt.Errorf("close: %w; the driver has not closed", ctx.Err()))
	}
	n.met.unregister()
	n.engine.close()
	return err
}

// waitEnd waits for done, while ctx allows it and for a moment more: what only has
// to be told ends then.
func waitEnd(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-done:
		return true
	case <-time.After(closePatience):
		return false
	}
}

// flush waits until all is sent, while there is a link and time.
func (n *node) flush(ctx context.Context, sent func() bool) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !sent() && n.link.up() && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// endMerges waits until no state merges an update.
func (n *node) endMerges(ctx context.Context) error {
	var idle []<-chan struct{}
	for _, st := range *n.states.Load() {
		idle = append(idle, st.leave())
	}
	for _, done := range idle {
		select {
		case <-done:
		case <-ctx.Done():
			return errStuck(ctx)
		}
	}
	return nil
}

func errStuck(ctx context.Context) error {
	return fmt.Errorf("close: %w; a state's Merge or MarshalBinary has not returned", ctx.Err())
}

// takeLeave lets those that missed the last updates ask for them, for as long as
// the core has it and ctx allows it.
func (n *node) takeLeave(ctx context.Context) {
	n.engine.step(core.Flushed{})
	select {
	case <-n.left:
	case <-ctx.Done():
		n.engine.step(core.Hurry{})
		<-n.left
	}
	brief, cancel := context.WithTimeout(ctx, closePatience)
	defer cancel()
	n.flush(brief, n.mail.isEmpty)
}
