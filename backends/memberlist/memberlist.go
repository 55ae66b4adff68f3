// Package memberlist is the backend "memberlist": gossip between the nodes
// themselves, with no server, on hashicorp/memberlist. A mesh may hold real
// Prometheus Alertmanagers: silences and notification logs are shared with them,
// both ways.
//
//	backend.Open(ctx, backend.Config{
//		Backend: "memberlist",
//		Cluster: "alerts",
//		Params:  map[string]string{"peers": "alerts-headless:9094"},
//	})
//
// # Parameters
//
// [Params] describes each key. One port is used, for TCP and UDP, or for TLS
// over TCP alone. A port in use is ErrConfig when the node is opened, and so are
// all parameters that cannot be used; peers that do not answer are no error.
//
// Toward Alertmanagers, label must be what they have as --cluster.label, which
// by default is nothing: then give label as an empty text. They know no
// encryption_keys. All members must have the same label, keys and TLS.
//
// # Delivery
//
// A broadcast goes straight to every other member: as a UDP packet where it fits
// one, up to about 1,350 bytes, else over TCP, one connection for each frame. At
// more than 1,000 broadcasts a second the rest goes over TCP too, for a flood of
// packets is lost at the receiver. What went by packet is gossiped besides, four
// times or a few more to random members, which repairs single losses. Over TCP a
// frame counts as sent when the other end has handled it, so that what goes to
// one member stays in order.
//
// Broadcast returns when all members that keep up have the frame, after 30
// milliseconds at most, so that what queues up meanwhile leaves as one frame.
// Each member has a queue of its own, of 1,024 frames and 64 MiB; a member that is
// slow or away delays nobody else, and what does not fit its queue is lost to it
// alone, and repaired by state exchange.
//
// So a broadcast in a cluster of N costs the sender N-1 packets, or N-1 TCP
// connections and N-1 times the frame's size. With more others than direct_limit
// a frame goes to ln N + 2 random members instead, and each member that has not
// seen it passes it on to as many, once. No node then sends it more often than
// that, all together N (ln N + 2) times; a member misses it with a probability of
// about 1 in 7 N, and state exchange repairs that.
//
// An Alertmanager is sent each update as one of its own, by UDP up to 700 bytes,
// else over TCP; it ignores the fields that it does not know.
//
// Frames are at most 16 MiB. A full state is given to a joining node with the
// list of members; one above 19 MiB is left out and comes by frames.
//
// # Membership
//
// SWIM: each node probes one other every probe_interval, with the help of three
// more where that fails, and a suspect has one interval to refute. Beyond that:
//
//   - a node that leaves tells all others itself; that is seen in milliseconds
//   - when a member's host refuses connections twice, its process has crashed; the
//     other members are told to see for themselves
//   - a node that SWIM gives up is asked once more before it is reported
//
// Measured on one machine of two cores, with default parameters: the crash of a
// process is seen by all of 3 nodes, and of 10, after 0.4 to 1.5 s, up to 2.5 s
// while both cores are busy; a host of 3 that vanishes after 2.5 to 4.5 s. A
// shorter probe_interval divides these and multiplies the idle traffic.
//
// Members sort by name and instance, here and on the Alertmanagers, whose own
// names are Member.Name with an empty Instance. Of those that leave it cannot
// always be told that they did not fail.
//
// # When the server is lost
//
// There is none. A node is Detached while peers are configured and no other
// member is alive; the reason names what each peer answered. It is attached
// when no peers are configured, when names have no addresses (a headless service
// with nobody else ready), and when all others have left by their own will. A
// node that nobody answers says that it is cut off before it drops any member.
// Names are looked up, and peers and failed members are tried, for ever, every
// second by default. A host that gets another address is opened again at that
// one.
//
// # Server footprint
//
// None. An idle node sends a probe a second and answers as many, about 200 bytes
// a second in all, as an Alertmanager does; every minute it exchanges the list of
// members with one other, and, unlike an Alertmanager, the states only where
// Alertmanagers are there. A failed member costs each node one TCP dial a second,
// less in large clusters.
//
// A frame that goes by TCP is copied once, for all its receivers, and read into
// memory that is used again, unless encryption_keys are given.
package memberlist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func init() {
	backend.Register("memberlist", driver.Backend{Open: Open, Params: Params{}, Examine: examine})
}

// maxFrame is below what memberlist takes as one message, 20 MiB.
const maxFrame = 16 << 20

// What memberlist is set to, beyond the parameters.
const (
	suspicionMult  = 1       // a suspect has one probe interval to answer
	awarenessMax   = 2       // a node that is slow itself waits up to twice as long
	handoffQueue   = 8 << 10 // packets that wait to be handled
	maxPacket      = 1400    // as Alertmanager has it
	retransmitMult = 4
	reclaimAfter   = 500 * time.Millisecond // until when news of where a failed member was may still go round
)

// Open starts a driver; it is registered as backend "memberlist".
func Open(ctx context.Context, o driver.Options, h driver.Handler) (driver.Driver, error) {
	return open(ctx, o, h, hooks{})
}

// hooks are for tests.
type hooks struct {
	wrap    func(ml.NodeAwareTransport) ml.NodeAwareTransport
	resolve resolver
}

// node is the driver.
type node struct {
	settings
	options driver.Options
	logger  *slog.Logger
	gate    *gate
	list    *ml.Memberlist
	trans   *transport
	outer   ml.NodeAwareTransport // trans, or what a test has put around it
	roster  *roster
	seeds   *seeds
	sender  *sender

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup

	closing sync.Once
	closed  chan struct{}
}

func open(ctx context.Context, o driver.Options, h driver.Handler, hooks hooks) (driver.Driver, error) {
	if hooks.resolve == nil {
		hooks.resolve = systemResolver
	}
	s, err := parse(o.Params, o.Cluster)
	if err != nil {
		return nil, err
	}
	meta, err := encodeMeta(o.Self.Meta)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memberlist: %w", err)
	}
	t, err := listen(s, o.Logger, newLogger(o.Logger))
	if err != nil {
		return nil, err
	}
	s.listen = addrPort(s.listen.Addr(), t.port())
	if t.advertise, err = advertised(ctx, s.AdvertiseAddress, s.listen, hooks.resolve, o.Logger); err != nil {
		return nil, errors.Join(err, t.Shutdown())
	}
	n := &node{settings: s, options: o, logger: o.Logger, trans: t, gate: &gate{handler: h}, closed: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.roster = newRoster(n)
	n.seeds = newSeeds(n, hooks.resolve)
	n.sender = newSender(n)
	t.refused = n.roster.refused
	d := &delegate{node: n, meta: meta}
	if s.keys == nil {
		t.receiver = &receiver{opening(s.Label), s.TCPTimeout, t.strangers, d.NotifyMsg}
	}
	n.outer = t
	if hooks.wrap != nil {
		n.outer = hooks.wrap(t)
	}
	if n.list, err = ml.Create(n.config(d)); err != nil {
		n.cancel()
		return nil, errors.Join(fmt.Errorf("memberlist: %w: %w", driver.ErrConfig, err), t.Shutdown())
	}
	t.start()
	n.wg.Go(n.roster.run)
	n.wg.Go(n.seeds.run)
	return n, nil
}

func (n *node) config(d *delegate) *ml.Config {
	c := ml.DefaultLANConfig()
	c.Name = nodeName(n.options.Self)
	c.Transport = n.outer
	c.BindAddr, c.BindPort = n.listen.Addr().String(), int(n.listen.Port())
	c.AdvertiseAddr, c.AdvertisePort = n.trans.advertise.Addr().String(), int(n.trans.advertise.Port())
	c.Label = n.Label
	c.Keyring = n.keys
	c.GossipVerifyIncoming, c.GossipVerifyOutgoing = n.EncryptionVerifyIncoming, n.EncryptionVerifyOutgoing
	c.GossipInterval = n.GossipInterval
	c.ProbeInterval, c.ProbeTimeout = n.ProbeInterval, n.ProbeTimeout
	c.PushPullInterval = n.PushPullInterval
	c.TCPTimeout = n.TCPTimeout
	c.SuspicionMult, c.AwarenessMaxMultiplier = suspicionMult, awarenessMax
	c.RetransmitMult = retransmitMult
	c.DeadNodeReclaimTime = reclaimAfter
	c.HandoffQueueDepth = handoffQueue
	c.UDPBufferSize = maxPacket
	c.EnableCompression = false // slow, and both ends understand what is not compressed
	c.Delegate, c.Events, c.Conflict, c.Ping = d, d, d, d
	c.Logger = n.trans.strangers
	return c
}

// Caps implements [driver.Driver].
func (n *node) Caps() driver.Caps {
	return driver.Caps{MaxFrame: maxFrame, Membership: true, Exchange: true, Send: n.send}
}

// Broadcast implements [driver.Driver].
func (n *node) Broadcast(ctx context.Context, frame []byte) error {
	if err := n.usable(frame); err != nil {
		return err
	}
	return n.sender.broadcast(ctx, frame)
}

func (n *node) send(ctx context.Context, to driver.Member, frame []byte) error {
	if err := n.usable(frame); err != nil {
		return err
	}
	return n.sender.send(ctx, to, frame)
}

func (n *node) usable(frame []byte) error {
	switch {
	case n.ctx.Err() != nil:
		return fmt.Errorf("memberlist: %w", driver.ErrClosed)
	case len(frame) > maxFrame:
		return fmt.Errorf("memberlist: %w: a frame of %d bytes; at most %d are sent", driver.ErrTooLarge, len(frame), maxFrame)
	}
	return nil
}

// leaveTimeout bounds how long the news of leaving is gossiped. Our own kind has
// it directly.
const leaveTimeout = time.Second

// Close implements [driver.Driver]. A probe of memberlist that waits for its
// answer ends by itself, awarenessMax probe intervals later at most; its sockets
// are closed, and it calls nobody.
func (n *node) Close(ctx context.Context) error {
	n.closing.Do(func() {
		defer close(n.closed)
		n.cancel()
		n.sender.goodbye(ctx)
		left := leaveTimeout
		if deadline, ok := ctx.Deadline(); ok {
			left = min(left, time.Until(deadline))
		}
		if err := n.list.Leave(max(left, time.Millisecond)); err != nil {
			n.logger.Debug("the news of leaving may have reached nobody", "err", err)
		}
		if err := n.list.Shutdown(); err != nil {
			n.logger.Warn("shutting down", "err", err)
		}
		n.wg.Wait()
		n.gate.close()
	})
	<-n.closed
	return nil
}

// changed has the roster look at everything again.
func (n *node) changed() { n.roster.signal() }

var _ driver.Driver = (*node)(nil)
