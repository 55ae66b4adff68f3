package nemesis

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// tap stands between one node's portable layer and its driver, where frames can
// be lost, doubled and held.
type tap struct {
	inner driver.OpenFunc

	mu      sync.Mutex
	is      condition
	changed chan struct{}      // closed when it changes
	lose    context.CancelFunc // ends Serve
}

func newTap(inner driver.OpenFunc) *tap { return &tap{inner: inner, changed: make(chan struct{})} }

// set changes what befalls the frames.
func (p *tap) set(c condition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.is = c
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *tap) condition() (condition, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.is, p.changed
}

func (p *tap) open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	d, err := p.inner(ctx, o)
	if err != nil {
		return nil, err
	}
	return &tappedDriver{Driver: d, tap: p}, nil
}

// giveUp ends the driver that serves, as if its library had given up.
func (p *tap) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lose != nil {
		p.lose()
	}
}

type tappedDriver struct {
	driver.Driver
	tap *tap
}

func (d *tappedDriver) Serve(ctx context.Context, h driver.Handler) error {
	serving, lose := context.WithCancel(ctx)
	defer lose()
	d.tap.mu.Lock()
	d.tap.lose = lose
	d.tap.mu.Unlock()
	err := d.Driver.Serve(serving, &tappedHandler{Handler: h, tap: d.tap})
	if serving.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("nemesis makes the driver give up: %w", driver.ErrUnavailable)
	}
	return err
}

func (d *tappedDriver) Broadcast(ctx context.Context, frame []byte) error {
	return d.tap.send(ctx, frame, d.Driver.Broadcast)
}

func (d *tappedDriver) Caps() driver.Caps {
	caps := d.Driver.Caps()
	if send := caps.Send; send != nil {
		caps.Send = func(ctx context.Context, to driver.Member, frame []byte) error {
			return d.tap.send(ctx, frame, func(ctx context.Context, b []byte) error { return send(ctx, to, b) })
		}
	}
	if updates := caps.Updates; updates != nil {
		caps.Updates = func(ctx context.Context, all iter.Seq2[string, []byte]) (bool, error) {
			if c, _ := d.tap.condition(); c.Mute || lost(c.Loss) {
				return true, nil
			}
			return updates(ctx, all)
		}
	}
	return caps
}

type tappedHandler struct {
	driver.Handler
	tap *tap
}

func (h *tappedHandler) Frame(b []byte) {
	c, _ := h.tap.condition()
	if c.Deaf || lost(c.Loss) {
		return
	}
	if lost(c.Twice) {
		h.Handler.Frame(bytes.Clone(b)) // Frame may use b as it likes
	}
	h.Handler.Frame(b)
}

func lost(part float64) bool { return part > 0 && rand.Float64() < part }

// send sends a frame as the condition wants it.
func (p *tap) send(ctx context.Context, frame []byte, send func(context.Context, []byte) error) error {
	if err := p.hold(ctx); err != nil {
		return err
	}
	c, _ := p.condition()
	if c.Mute || lost(c.Loss) {
		return nil
	}
	err := send(ctx, frame)
	if err == nil && lost(c.Twice) {
		err = send(ctx, frame)
	}
	return err
}

// hold waits while frames are stalled, and as long as they are delayed.
func (p *tap) hold(ctx context.Context) error {
	c, changed := p.condition()
	for c.Stall {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		c, changed = p.condition()
	}
	if c.Delay == 0 {
		return nil
	}
	late := time.NewTimer(c.Delay)
	defer late.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return nil
	}
}
