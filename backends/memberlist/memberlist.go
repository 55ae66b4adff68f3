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

func init() { backend.Register("memberlist", Open) }

// maxFrame is below what memberlist takes as one message, 20 MiB.
const maxFrame = 16 << 20

// What memberlist is set to, beyond the parameters.
const (
	suspicionMult  = 2       // a suspect has two probe intervals to answer
	awarenessMax   = 4       // a node that is slow itself waits up to four times as long
	handoffQueue   = 8 << 10 // packets that wait to be handled
	maxPacket      = 1400    // as Alertmanager has it
	retransmitMult = 4
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
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memberlist: %w", err)
	}
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
	t, err := listen(s, o.Logger)
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
	n.outer = t
	if hooks.wrap != nil {
		n.outer = hooks.wrap(t)
	}
	if n.list, err = ml.Create(n.config(meta)); err != nil {
		n.cancel()
		return nil, errors.Join(fmt.Errorf("memberlist: %w: %w", driver.ErrConfig, err), t.Shutdown())
	}
	t.start()
	n.wg.Go(n.roster.run)
	n.wg.Go(n.seeds.run)
	return n, nil
}

func (n *node) config(meta []byte) *ml.Config {
	d := &delegate{node: n, meta: meta}
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
	c.HandoffQueueDepth = handoffQueue
	c.UDPBufferSize = maxPacket
	c.EnableCompression = false // slow, and both ends understand what is not compressed
	c.Delegate, c.Events, c.Conflict, c.Ping = d, d, d, d
	c.Logger = newLogger(n.logger)
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

// Close implements [driver.Driver].
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
