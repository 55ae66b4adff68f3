package once

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend"
)

// calls are those of Do that have not returned: for each key one that acts, and others
// that wait for it.
type calls struct {
	open context.Context // until it is shut
	shut context.CancelFunc

	mu      sync.Mutex
	busy    map[string]chan struct{} // closed when the call for the key returns
	running int
	closed  bool
	idle    chan struct{} // closed when it was shut and none is left
}

func newCalls() *calls {
	c := &calls{busy: map[string]chan struct{}{}, idle: make(chan struct{})}
	c.open, c.shut = context.WithCancel(context.Background())
	return c
}

// whileOpen returns a context that ends with ctx, or by ErrClosed when c is closed.
func (c *calls) whileOpen(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.open, func() { cancel(backend.ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// reason returns why such a context has ended: ErrClosed, or the error of the caller's.
func reason(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, backend.ErrClosed) {
		return err
	}
	return ctx.Err()
}

// enter waits until no other call for key runs. leave is called when this one returns.
func (c *calls) enter(ctx context.Context, key string) (leave func(), err error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	ctx, stop := c.whileOpen(ctx)
	defer stop()
	for {
		before := c.take(key)
		if before == nil {
			return func() { c.free(key); c.end() }, nil
		}
		select {
		case <-before:
		case <-ctx.Done():
			c.end()
			return nil, reason(ctx)
		}
	}
}

func (c *calls) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return backend.ErrClosed
	}
	c.running++
	return nil
}

func (c *calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if c.closed && c.running == 0 {
		close(c.idle)
	}
}

// take makes the caller the one for key, or returns what is closed when that returns.
func (c *calls) take(key string) (before <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if busy := c.busy[key]; busy != nil {
		return busy
	}
	c.busy[key] = make(chan struct{})
	return nil
}

func (c *calls) free(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.busy[key])
	delete(c.busy, key)
}

// close refuses new calls, ends those that wait, and waits for the others.
func (c *calls) close(ctx context.Context) error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.shut()
		if c.running == 0 {
			close(c.idle)
		}
	}
	left := c.running
	c.mu.Unlock()
	select {
	case <-c.idle:
		return nil
	case <-ctx.Done():
		if left == 0 {
			return nil
		}
		return fmt.Errorf("once: %d calls of Do have not returned: %w", left, ctx.Err())
	}
}
