// Package memory is the in-process backend, registered as "memory". It is the
// reference driver: read it before you write one. Services use it in their own
// tests, where a [Bus] stands for a server that can be stopped, started and cut
// off.
//
// # Parameters
//
// bus: name of the bus to meet on; default "default". Buses are looked up in the
// process; the bus of [NewBus] is named by its Name.
//
// max_frame: largest frame in bytes, for tests of chunking; default 0, no limit.
//
// # Delivery
//
// Every frame is handed to every node in order, its sender included. A node that
// is 1,024 frames behind loses frames.
//
// # Membership
//
// By heartbeat of the portable layer.
//
// # When the server is lost
//
// After [Bus.Stop] each driver reports the loss and is opened again, with
// back-off, by the portable layer.
//
// # Server footprint
//
// None.
package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// Params are the parameters of the backend.
type Params struct {
	Bus      string `param:"bus" default:"default"`
	MaxFrame int    `param:"max_frame" default:"0"`
}

const queueFrames = 1024

var errStopped = errors.New("the bus is stopped")

func init() { backend.Register("memory", driver.Backend{Open: Open, Params: Params{}, Local: true}) }

// Open is the backend's driver.OpenFunc.
func Open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	var p Params
	if err := params.Decode(o.Params, &p); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return lookup(p.Bus).attach(o, p)
}

// conn is the driver: one node's connection to a bus.
type conn struct {
	bus      *Bus
	cluster  string
	name     string
	maxFrame int
	in       chan []byte
	end      func()
	ended    chan struct{} // closed by end: the bus has stopped, or the conn is closed
}

// Caps returns a plain bus. A frame arrives at once or never.
func (c *conn) Caps() driver.Caps { return driver.Caps{MaxFrame: c.maxFrame} }

// Serve hands inbound frames to the portable layer.
func (c *conn) Serve(ctx context.Context, h driver.Handler) error {
	h.Link(nil)
	for {
		select {
		case frame := <-c.in:
			h.Frame(frame)
		case <-c.ended:
			return fmt.Errorf("memory: %w: %w", driver.ErrUnavailable, errStopped)
		case <-ctx.Done():
			return nil
		}
	}
}

// Broadcast hands a copy of frame to every node of the cluster.
func (c *conn) Broadcast(ctx context.Context, frame []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.maxFrame > 0 && len(frame) > c.maxFrame {
		return fmt.Errorf("memory: %w: frame of %d bytes, max_frame is %d", driver.ErrTooLarge, len(frame), c.maxFrame)
	}
	select {
	case <-c.ended:
		return fmt.Errorf("memory: %w", driver.ErrClosed)
	default:
	}
	frame = slices.Clone(frame)
	for _, to := range c.bus.reachable(c) {
		select {
		case to.in <- frame:
		default: // the receiver is too slow; sequence numbers will show it the gap
		}
	}
	return nil
}

// Close leaves the bus.
func (c *conn) Close(context.Context) error {
	c.bus.detach(c)
	c.end()
	return nil
}

var _ driver.Driver = (*conn)(nil)
