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

// MaxFrame is the largest frame that the hub takes.
const MaxFrame = 256 << 10

type relay struct {
	conn    net.Conn
	handler driver.Handler
	reader  sync.WaitGroup

	mu     sync.Mutex // one frame at a time on conn
	closed bool
}

// Open is the driver.OpenFunc of the backend. Its one parameter is address, the
// hub's host:port.
func Open(ctx context.Context, o driver.Options, h driver.Handler) (driver.Driver, error) {
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
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("relay: %w: %w", driver.ErrUnavailable, err)
	}
	r := &relay{conn: conn, handler: h}
	if err := r.subscribe(ctx, o.Cluster); err != nil {
		return nil, fmt.Errorf("relay: %w: %w", driver.ErrUnavailable, err)
	}
	r.reader.Go(r.read)
	return r, nil
}

// subscribe names the cluster and waits until the hub has said it back: from
// then on nothing is missed.
func (r *relay) subscribe(ctx context.Context, cluster string) error {
	stop := context.AfterFunc(ctx, func() { _ = r.conn.SetDeadline(time.Unix(1, 0)) })
	err := writeFrame(r.conn, []byte(cluster))
	if err == nil {
		_, err = readFrame(r.conn)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = r.conn.Close()
	}
	return err
}

func (r *relay) read() {
	r.handler.Link(nil)
	in := bufio.NewReader(r.conn)
	for {
		frame, err := readFrame(in)
		if err != nil {
			if !r.isClosed() {
				r.handler.Link(fmt.Errorf("relay: %w: %w", driver.ErrUnavailable, err))
			}
			return
		}
		r.handler.Frame(frame)
	}
}

func (r *relay) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Broadcast implements driver.Driver.
func (r *relay) Broadcast(ctx context.Context, frame []byte) error {
	if len(frame) > MaxFrame {
		return fmt.Errorf("relay: %w: %d bytes", driver.ErrTooLarge, len(frame))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("relay: %w", driver.ErrClosed)
	}
	stop := context.AfterFunc(ctx, func() { _ = r.conn.SetWriteDeadline(time.Unix(1, 0)) })
	err := writeFrame(r.conn, frame)
	stop()
	if err != nil {
		_ = r.conn.Close() // the frame may have gone out in part; read tells that the link is lost
		return fmt.Errorf("relay: %w: %w", driver.ErrUnavailable, err)
	}
	return nil
}

// Caps implements driver.Driver.
func (r *relay) Caps() driver.Caps { return driver.Caps{MaxFrame: MaxFrame} }

// Close implements driver.Driver.
func (r *relay) Close(context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	_ = r.conn.Close() // what was written is still sent
	r.reader.Wait()
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
