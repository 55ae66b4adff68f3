// Package relay is a backend that somebody else wrote: a driver for a hub that
// passes each frame on to all connections of a cluster. Importing it registers
// it as "relay". It uses nothing but what clusterchannel exports.
package relay

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func init() { backend.Register("relay", driver.Backend{Open: Open}) }

// linger is how long the hub waits for a connection to read a frame.
const linger = time.Second

// MaxFrame is the largest frame that the hub accepts.
const MaxFrame = 256 << 10

// conn is the driver: one node's connection to the hub.
type conn struct {
	hub net.Conn

	mu     sync.Mutex // one frame at a time to the hub
	closed bool
}

// Open is the driver.OpenFunc of the backend. Its one parameter is address, the
// hub's host:port.
func Open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	address := o.Params["address"]
	for key := range o.Params {
		if key != "address" {
			return nil, fmt.Errorf("relay: %w: unknown key %q (known: address)", driver.ErrConfig, key)
		}
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("relay: %w: address %q is not host:port", driver.ErrConfig, address)
	}
	if o.Cluster == "" {
		return nil, fmt.Errorf("relay: %w: cluster is empty", driver.ErrConfig)
	}
	var d net.Dialer
	hub, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("relay: %w: %w", driver.ErrUnavailable, err)
	}
	c := &conn{hub: hub}
	if err := c.subscribe(ctx, o.Cluster); err != nil {
		_ = hub.Close() // it was not used
		return nil, fmt.Errorf("relay: %w: %w", driver.ErrUnavailable, err)
	}
	return c, nil
}

// subscribe names the cluster and waits until the hub has repeated it: from
// then on nothing is missed.
func (c *conn) subscribe(ctx context.Context, cluster string) error {
	stop := context.AfterFunc(ctx, func() { _ = c.hub.SetDeadline(time.Unix(1, 0)) })
	err := writeFrame(c.hub, []byte(cluster))
	if err == nil {
		_, err = readFrame(c.hub)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	return err
}

// Caps implements driver.Driver.
func (c *conn) Caps() driver.Caps { return driver.Caps{MaxFrame: MaxFrame, Linger: linger} }

// Serve implements driver.Driver.
func (c *conn) Serve(ctx context.Context, h driver.Handler) error {
	defer context.AfterFunc(ctx, func() { _ = c.hub.SetReadDeadline(time.Unix(1, 0)) })()
	h.Link(nil)
	in := bufio.NewReader(c.hub)
	for {
		frame, err := readFrame(in)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("relay: %w: %w", driver.ErrUnavailable, err)
		}
		h.Frame(frame)
	}
}

// Broadcast implements driver.Driver.
func (c *conn) Broadcast(ctx context.Context, frame []byte) error {
	if len(frame) > MaxFrame {
		return fmt.Errorf("relay: %w: %d bytes", driver.ErrTooLarge, len(frame))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("relay: %w", driver.ErrClosed)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.hub.SetWriteDeadline(time.Unix(1, 0)) })
	err := writeFrame(c.hub, frame)
	stop()
	if err != nil {
		_ = c.hub.Close() // the frame may have gone out in part; Serve reports the lost link
		return fmt.Errorf("relay: %w: %w", driver.ErrUnavailable, err)
	}
	return nil
}

// Close implements driver.Driver.
func (c *conn) Close(context.Context) error {
	_ = c.hub.Close() // what was written is still sent
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func writeFrame(w io.Writer, frame []byte) error {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(frame)), uint32(len(frame)))
	_, err := w.Write(append(b, frame...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	frame := make([]byte, n)
	_, err := io.ReadFull(r, frame)
	return frame, err
}
