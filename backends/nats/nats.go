// Package nats is the backend "nats": broadcast over a NATS server, or a cluster
// of them, by core NATS alone. JetStream is not needed.
//
//	backend.Open(ctx, backend.Config{
//		Backend: "nats",
//		Cluster: "alerts",
//		Params:  map[string]string{"servers": "nats-1:4222,nats-2:4222"},
//	})
//
// # Parameters
//
// [Params] describes each key. The host of a URL is servers, as in
// "nats://user:secret@nats-1:4222?cluster=alerts". Files are read at Open, where
// one that cannot be used is ErrConfig, and again at every connection, so that
// certificates and keys are rotated without a restart.
//
// A server that refuses the credentials or one of the two permissions, does not
// encrypt where tls is set, or has a certificate that cannot be verified, is
// ErrConfig when the node is opened; later it is the reason why the node is
// Detached, until the server accepts it.
//
// # Delivery
//
// A broadcast is published once, and the server hands it to every node, the
// sender included; that is how a node knows that it is heard. What is for one
// node, such as a state that it lacks, is published on the node's own subject,
// which is that of the cluster with the node's instance behind it, so that no other
// is sent it. About 1 MiB of it is on its way to a node that has not confirmed it;
// it confirms each half. Core NATS keeps nothing: what a node misses is repaired by
// state exchange.
//
// A frame is as large as the server's max_payload, at most 256 KiB, so that
// heartbeats get in between; larger ones go in pieces. At least 512 bytes are
// needed. A server that comes back, or is reloaded, with a smaller max_payload
// makes the driver open again; a larger one is used from then on.
//
// After every MiB a node waits until the server has handed them on.
// What a node sends faster than that queues up on the node, and leaves as fewer
// and larger frames, which do not delay the heartbeats.
//
// A slow node may be 65,536 frames or 64 MiB behind. Frames beyond that are
// dropped, logged with the count (frames_dropped), and counted as rejected by
// overflow; the gap shows in the sequence numbers of the next frame or heartbeat,
// counts in clusterchannel_gaps_total, and is repaired at once. The link is not reported
// as lost: it is not, and an exchange of all states would be one more load on a
// node that has too much. A server closes the connection of a client that does
// not read; that is an outage like any other.
//
// # Membership
//
// By heartbeat of the portable layer.
//
// A key of a JetStream KV for each node, with a TTL, was measured and is not
// offered, because it is no better. Each renewal reaches all watchers just as a
// heartbeat reaches all subscribers, and is stored besides; and a key ends four
// renewals after its last, when the fourth heartbeat is missed as well. 100
// nodes on one server of version 2.15, on two cores, for 15 seconds each:
//
//	              every   to server   from server    CPU of server  of clients  crash told after
//	heartbeats    5s      20 msg/s    2,000 msg/s    3.7 %          3.5 %       20 s, by the rule of four
//	KV in memory  5s      20 msg/s    2,025 msg/s    6.7 %          5.0 %       19 s
//	KV in files   5s      20 msg/s    2,020 msg/s    6.3 %          4.5 %       19 s
//	heartbeats    500ms   200 msg/s   20,006 msg/s   20 %           18 %        2 s, by the rule of four
//	KV in memory  500ms   200 msg/s   20,206 msg/s   50 %           35 %        2 s
//
// # When the server is lost
//
// The library tries the other servers, and those that the server has announced,
// for ever, with pauses of 50 ms to 1 s; View().Err says why it cannot connect.
// Meanwhile broadcasts fail, and nothing is kept to be sent afterwards. Once it
// is connected again the node subscribes again and exchanges its states.
//
// A link that answers nothing is found after four heartbeats, since the node's
// own do not come back, and by the library after 4.5 s. A link that accepts
// nothing is cut when the context of a broadcast has ended.
//
// A server in lame duck mode says so, which is logged, and then ends one
// connection after the other; each node goes to another server.
//
// Servers of a cluster that lose each other, or a leaf node and its hub, go on
// serving their own clients: the views differ, and agree again when the servers
// have found each other.
//
// Close waits for the server: what was accepted reaches it first.
//
// # Server footprint
//
// A cluster has one subject, prefix and name: clusterchannel.alerts, and one below
// it for each node. All but letters, digits, "_", "-" and "~" in the name is
// escaped, as in the query of a URL. A node's user needs to publish and to
// subscribe to these, and nothing else:
//
//	permissions: {
//		publish: ["clusterchannel.alerts", "clusterchannel.alerts.*"]
//		subscribe: ["clusterchannel.alerts", "clusterchannel.alerts.*"]
//	}
//
// One connection and two subscriptions for each node. Nothing is stored. An idle
// node sends a heartbeat of about 100 bytes every 500 ms, more seldom above ten
// nodes, a PING every 1.5 s, and an empty message when it is opened, by which it
// learns whether it may publish; nodes ignore those. So up to ten nodes send 2
// N messages a second in all, and each receives 2 N; above ten, all together
// send 20 a second, and each receives all of them.
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/driver/flow"
	"github.com/clusterchannel/clusterchannel/backend/driver/loglimit"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

func init() { backend.Register("nats", driver.Backend{Open: Open, Params: Params{}, Examine: examine}) }

const (
	maxFrame      = 256 << 10 // a larger max_payload is not used, since heartbeats must get in between
	pendingFrames = 64 << 10
	pendingBytes  = 64 << 20
	linger        = 10 * time.Second // write_deadline: a server ends a connection that does not read what it sends
	window        = 1 << 20          // bytes on their way to the server and back
	cutDelay      = 500 * time.Millisecond
)

// Open starts a driver; it is registered as backend "nats".
func Open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	s, err := parse(o.Params, o.Cluster, o.Self.Name)
	if err != nil {
		return nil, err
	}
	if err := params.RequireCluster(o.Cluster); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	c := &conn{
		log: o.Logger, subject: s.subject, dialer: newDialer(), connected: make(chan struct{}), closed: make(chan struct{}), links: make(chan error),
		lines: loglimit.Limiter{Every: 10 * time.Second}, instance: o.Self.Instance,
	}
	c.flow = flow.New("nats", c.instance, func(ctx context.Context, instance string, payload []byte) error {
		return c.send(ctx, c.own(instance), payload)
	})
	c.serving, c.served = context.WithCancel(context.Background())
	if err := c.start(ctx, s); err != nil {
		c.stop()
		if errors.Is(err, driver.ErrConfig) {
			return nil, err
		}
		return nil, fmt.Errorf("nats: %w: %w", driver.ErrUnavailable, err)
	}
	return c, nil
}

// conn is the driver. The library reconnects by itself, since it knows servers
// that the configuration does not name, and its callbacks report the state of
// the link.
type conn struct {
	nc        *nats.Conn
	connected chan struct{}        // closed once nc is set
	subs      []*nats.Subscription // to the cluster's subject, and to the node's own
	flow      *flow.Flow
	dialer    *dialer
	log       *slog.Logger
	subject   string // of the cluster
	instance  string
	maxFrame  int
	sent      atomic.Int64 // bytes since the server was last waited for
	closing   atomic.Bool
	closed    chan struct{}    // closed after the library's last callback
	lines     loglimit.Limiter // about dropped frames

	links   chan error      // from callbacks to Serve
	serving context.Context // until Serve has returned; callbacks wait for it
	served  context.CancelFunc
}

// start connects and subscribes.
func (c *conn) start(ctx context.Context, s settings) (err error) {
	if c.nc, err = c.connect(ctx, s); err != nil {
		return err
	}
	close(c.connected)
	err = c.subscribe(ctx)
	if errors.Is(err, nats.ErrPermissionViolation) {
		return params.Bad(s.credentialsKey(), "%w", err)
	}
	return err
}

// stop ends the connection, and waits until the library makes no more
// callbacks.
func (c *conn) stop() {
	c.served()
	c.dialer.close()
	if c.nc != nil {
		c.nc.Close()
		<-c.closed
	}
}

// flush waits until the server has handed on what was sent: its answer comes
// after this node's own frames.
func (c *conn) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.nc.FlushWithContext(ctx)
}

// own returns the subject of one node.
func (c *conn) own(instance string) string { return c.subject + "." + instance }

// Caps describes a bus with the server's max_payload that can also send to one
// node alone.
func (c *conn) Caps() driver.Caps {
	return driver.Caps{MaxFrame: c.maxFrame, Linger: linger, Send: c.flow.Send}
}

// Serve hands over what is published, and reports the state of the link.
func (c *conn) Serve(ctx context.Context, h driver.Handler) error {
	defer c.served()
	h.Link(nil)
	loops, ctx := errgroup.WithContext(ctx)
	loops.Go(func() error { return c.report(ctx, h) })
	for _, sub := range c.subs {
		loops.Go(func() error { return c.receive(ctx, sub, h) })
	}
	loops.Go(func() error { return c.flow.Serve(ctx) })
	return loops.Wait()
}

func (c *conn) receive(ctx context.Context, sub *nats.Subscription, h driver.Handler) error {
	overflowed, dropped := false, 0
	for {
		m, err := sub.NextMsgWithContext(ctx)
		slow := errors.Is(err, nats.ErrSlowConsumer)     // a callback logs it
		if overflowed = overflowed || slow; overflowed { // it is said once, and more may be dropped behind what is queued
			all, _ := sub.Dropped() // fails for a subscription that is closed
			for ; dropped < all; dropped++ {
				h.Reject(driver.Overflow, nats.ErrSlowConsumer)
			}
		}
		switch {
		case err == nil && m.Subject == c.subject && len(m.Data) > 0, err == nil && m.Subject != c.subject && c.flow.Heard(m.Data):
			h.Frame(m.Data)
		case err == nil, slow:
		default: // ctx or the connection has ended, and a callback says why
			<-ctx.Done()
			return nil
		}
	}
}

// Broadcast publishes frame to the cluster's subject.
func (c *conn) Broadcast(ctx context.Context, frame []byte) error {
	return c.send(ctx, c.subject, frame)
}

// send publishes payload, and waits for the server after each window of bytes.
func (c *conn) send(ctx context.Context, subject string, payload []byte) error {
	switch {
	case c.closing.Load():
		return fmt.Errorf("nats: %w", driver.ErrClosed)
	case len(payload) > c.maxFrame:
		return fmt.Errorf("nats: %w: frame of %d bytes, at most %d can be sent", driver.ErrTooLarge, len(payload), c.maxFrame)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	err := c.publish(ctx, subject, payload)
	if err == nil && c.sent.Add(int64(len(payload))) >= window {
		if err = c.flush(ctx); err == nil {
			c.sent.Store(0)
		}
	}
	switch {
	case err == nil:
		return nil
	case c.closing.Load():
		return fmt.Errorf("nats: %w", driver.ErrClosed)
	case errors.Is(err, nats.ErrMaxPayload):
		c.giveUp(fmt.Errorf("the server's max_payload has shrunk: %w", err))
	}
	return fmt.Errorf("nats: %w: %w", driver.ErrUnavailable, err)
}

// publish hands payload to the library, which may have to write it. If ctx ends
// while the server reads nothing, the connection is cut; not at once, because
// this node may be closing, and its goodbye comes next.
func (c *conn) publish(ctx context.Context, subject string, payload []byte) error {
	var done atomic.Bool
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(cutDelay, func() {
			if !done.Load() {
				c.dialer.cut()
			}
		})
	})
	defer stop()
	defer done.Store(true)
	return c.nc.Publish(subject, payload)
}

// Close waits until the server has what was published.
func (c *conn) Close(ctx context.Context) (err error) {
	c.closing.Store(true)
	defer context.AfterFunc(ctx, c.dialer.close)()
	if c.nc.IsConnected() {
		if err = c.flush(ctx); err != nil {
			err = fmt.Errorf("nats: close: not all was sent: %w", err)
		}
	}
	c.stop()
	return err
}

var _ driver.Driver = (*conn)(nil)
