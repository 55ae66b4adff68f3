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
// With Alertmanagers as members, label must equal their --cluster.label, which
// is empty by default: then give label as an empty text. They know no
// encryption_keys. All members must have the same label, keys and TLS.
//
// The cluster's name goes with membership and full states, so that nodes of two
// clusters share nothing though their labels are the same: each refuses the other
// and says so. Alertmanagers have no such name. Limit, as of C14: an Alertmanager
// that knows nodes of two clusters is a member of both, and passes on the updates
// of either.
//
// # Delivery
//
// A broadcast goes straight to every other member: as a UDP packet where it fits
// one, up to about 1,350 bytes, else over TCP. What queues up for one member while a
// connection to it is under way goes by the next one together, up to 256 KiB; a frame
// of more than 64 KiB goes by itself, and so does each to a node of an earlier commit.
// Beyond 1,000 broadcasts a second the rest goes over TCP too, since receivers
// lose a flood of packets. Packets are also gossiped, four times or a few more
// to random members, which repairs single losses. Over TCP a frame counts as
// sent when the other end has handled it, so that the frames to one member stay
// in order.
//
// Broadcast returns when all members that keep up have the frame, after 30
// milliseconds at most, so that what queues up meanwhile leaves as one frame.
// Each member has a queue of its own, of 1,024 frames and 64 MiB; a member that
// is slow or away delays no other. What does not fit its queue is lost to that
// member alone, and repaired by state exchange. When a member's address changes
// its queue goes to the new one.
//
// Whether packets arrive is found out by pings, 20 a second at most to each member
// while frames go to it as packets, 90 bytes each way, and none at rest. From the
// first that is not answered within 50 milliseconds, or four round trips, the frames
// that it was for and all further ones go by streams, until pings are answered. A
// frame for a member that no stream reaches within 100 milliseconds either, or four
// round trips, is passed on by two others, one if it is 16 KiB or more: so it arrives
// within 0.3 s though its sender and its receiver cannot reach each other. Sixteen are
// asked whether they reach it, and those that say so within ten seconds pass it on. With
// encryption_keys or TLS the first may take a second. Where all reach each other
// nothing is passed on; to a member that has crashed and is not yet dropped, what
// is sent is sent twice. What neither way brings to a member is counted, by
// clusterchannel_undelivered_total, and logged.
//
// So a broadcast in a cluster of N costs the sender N-1 packets, or at most N-1 TCP
// connections and N-1 times the frame's size. With more others than direct_limit
// a frame goes to ln N + 2 random members instead, and each member that has not
// seen it passes it on to as many, once. No node then sends it more often than
// that, all together N (ln N + 2) times; a member misses it with a probability of
// about 1 in 7 N, and state exchange repairs that.
//
// An Alertmanager is sent each update as one of its own, by UDP up to 700 bytes,
// else over TCP; it ignores the fields that it does not know.
//
// Frames are at most 16 MiB. Own nodes are given states by frames, each once. While
// there are Alertmanagers the list of members carries the full state too, up to 19
// MiB, and a new one is given it at once. What an Alertmanager repeats within five
// seconds is one update.
//
// # Membership
//
// SWIM: each node probes one other every probe_interval, with the help of three
// more where that fails, and a suspect has one interval to refute. Beyond that:
//
//   - a node that leaves tells all others itself; that is seen in milliseconds. One
//     that answers five seconds later is back: its goodbye was late
//   - a member is reached if it answers a ping, or handles a stream, or if another
//     member says that it does so there. A member that is reached stays one,
//     whatever else is the case, and one that has failed is back when it is reached,
//     not before. So signals that contradict each other make nobody come and go:
//     the answer to one question decides both ways, and is the same as long as the
//     network is
//   - when a member's host refuses connections it is suspected at once, and all
//     others are told to see for themselves; it has failed if nobody reaches it
//     within probe_timeout
//   - a node that SWIM gives up is asked once more, by itself and by others, before
//     it is reported
//
// Members that do not answer packets, or refuse connections, or are reached by
// others alone, are named in the log, on the status page and, by
// clusterchannel_pings_failing, as a metric.
//
// Measured on one machine of two cores, with default parameters: the crash of a
// process is seen by all of 3 nodes, and of 10, after 1 to 2.2 s, up to 3 s
// while both cores are busy; a host of 3 that vanishes after 2.5 to 5 s. A
// shorter probe_interval divides these and multiplies the idle traffic.
//
// Members sort by name and instance, here and on the Alertmanagers, whose own
// names are Member.Name with an empty Instance. An Alertmanager that says goodbye
// has left, though its process ends a moment later; one of 2022 says none, and
// counts as failed.
//
// # When the server is lost
//
// There is none. A node is Detached while peers are configured and no other
// member is alive; the reason names what each peer answered. It is attached
// when no peers are configured, when names still have no address eight seconds
// after it began (a headless service with nobody else ready), and when all others
// have said goodbye. A node that gets no answer at all reports that it is cut off
// before it drops any member. Names are looked up, and peers and failed members
// are tried, for ever, every second by default, of many failed ones a part at a time.
// When a host's address changes, the node opens again at the new one.
//
// # Server footprint
//
// None. An idle node sends a probe a second and answers as many, about 200 bytes
// a second in all, as an Alertmanager does; every minute it exchanges the list of
// members with one other, and, unlike an Alertmanager, the states only where
// Alertmanagers are there. A failed member costs each node one TCP dial a second,
// less in large clusters and where many have failed.
//
// A frame over TCP is copied once, for all its receivers, and read into memory
// that is reused, unless encryption_keys are given.
//
// A stranger who reaches the port can have 512 connections from one address, or one
// IPv6 network of 64 bits, and 32 pending exchanges among them, each for tcp_timeout
// at most; what is compressed is unpacked up to 40 MiB, a packet's up to 256 KiB.
// Large messages, states and lists of one source, by what their headers claim, take
// 60 MiB at a time; more waits for its turn. Up to 4096 others are believed to be
// members: who knows the label can invent them, unless traffic is encrypted. What is
// above, or has another label, is refused and counted as rejected. An Alertmanager is
// looked for when it joins, or is said to, 64 in four seconds: one that nobody reaches
// is listed for a second or two, and longer if more are invented. An own node is pinged
// then, by the first frame for it, or after two seconds, and is looked for likewise if it
// answers none of three pings: one that nobody reaches is listed for five seconds or so.
package memberlist

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func init() {
	backend.Register("memberlist", driver.Backend{Open: Open, Params: Params{}, Mesh: meshParams, Flags: flags, Examine: examine})
}

// maxFrame is below what memberlist takes as one message, 20 MiB.
const maxFrame = 16 << 20

// What memberlist is set to, beyond the parameters.
const (
	suspicionMult  = 1                      // a suspect has one probe interval to answer
	awarenessMax   = 2                      // a node that is slow itself waits up to twice as long
	handoffQueue   = 8 << 10                // packets that wait to be handled
	maxPacket      = 1400                   // as Alertmanager has it
	retransmitMult = 4                      // of frames: what is lost is sent again
	membersMult    = 12                     // of changes of members: who misses one, by a chance of e^-12 at most, learns it with the next list
	reclaimAfter   = 500 * time.Millisecond // until when news of where a failed member was may still go round
)

// Open starts a driver; it is registered as backend "memberlist".
func Open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	return open(ctx, o, hooks{})
}

// hooks are for tests.
type hooks struct {
	wrap    func(ml.NodeAwareTransport) ml.NodeAwareTransport
	resolve resolver
}

// conn is the driver.
type conn struct {
	mesh   mesh
	self   driver.Member
	logger *slog.Logger
	gate   gate
	trans  *transport // without what a test may have wrapped around it
	roster *roster
	seeds  *seeds
	sender *sender

	ctx    context.Context // ends with Serve; its cause says why the link is lost
	cancel context.CancelCauseFunc
	loops  sync.WaitGroup
}

func open(ctx context.Context, o driver.Options, hooks hooks) (driver.Driver, error) {
	if hooks.resolve == nil {
		hooks.resolve = systemResolver
	}
	s, err := parse(o.Params, o.Cluster)
	if err != nil {
		return nil, err
	}
	meta, err := encodeMeta(clusterID(o.Cluster), o.Self.Meta)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memberlist: %w", err)
	}
	if err := s.locate(ctx, hooks.resolve); err != nil {
		return nil, err
	}
	t, err := listen(s, o.Logger, newLogger(o.Logger))
	if err != nil {
		return nil, err
	}
	s.listen = addrPort(s.listen.Addr(), t.port())
	if t.advertise, err = advertised(ctx, s.AdvertiseAddress, s.listen, hooks.resolve, o.Logger); err != nil {
		return nil, errors.Join(err, t.Shutdown())
	}
	c := &conn{mesh: mesh{settings: s, transport: t, trans: t}, self: o.Self, logger: o.Logger, trans: t}
	if hooks.wrap != nil {
		c.mesh.transport = hooks.wrap(t)
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.roster = newRoster(c)
	c.seeds = newSeeds(c, hooks.resolve)
	c.sender = newSender(c)
	c.roster.seeds, c.roster.sender = c.seeds, c.sender
	t.refused = c.roster.refused
	t.entrance.leaving = c.roster.leaving
	t.entrance.reject = func(why driver.Reason, err error) {
		c.gate.do(func(h driver.Handler) { h.Reject(why, fmt.Errorf("memberlist: %w", err)) })
	}
	d := &delegate{meta: meta, cluster: clusterID(o.Cluster), gate: &c.gate, logger: o.Logger, roster: c.roster, sender: c.sender}
	if s.keys == nil {
		t.receiver = &receiver{opening(s.Label), t.strangers, d.NotifyMsg, t.entrance.hold}
	}
	if c.mesh.list, err = ml.Create(c.config(d)); err != nil {
		c.cancel(nil)
		return nil, errors.Join(fmt.Errorf("memberlist: %w: %w", driver.ErrConfig, err), t.Shutdown())
	}
	return c, nil
}

func (c *conn) config(d *delegate) *ml.Config {
	config := ml.DefaultLANConfig()
	config.Name = nodeName(c.self)
	config.Transport = c.mesh.transport
	config.BindAddr, config.BindPort = c.mesh.settings.listen.Addr().String(), int(c.mesh.settings.listen.Port())
	config.AdvertiseAddr, config.AdvertisePort = c.trans.advertise.Addr().String(), int(c.trans.advertise.Port())
	config.Label = c.mesh.settings.Label
	config.Keyring = c.mesh.settings.keys
	config.GossipVerifyIncoming, config.GossipVerifyOutgoing = c.mesh.settings.EncryptionVerifyIncoming, c.mesh.settings.EncryptionVerifyOutgoing
	config.GossipInterval = c.mesh.settings.GossipInterval
	config.ProbeInterval, config.ProbeTimeout = c.mesh.settings.ProbeInterval, c.mesh.settings.ProbeTimeout
	config.PushPullInterval = c.mesh.settings.PushPullInterval
	config.TCPTimeout = c.mesh.settings.TCPTimeout
	config.SuspicionMult, config.AwarenessMaxMultiplier = suspicionMult, awarenessMax
	config.RetransmitMult = membersMult
	config.DeadNodeReclaimTime = reclaimAfter
	config.HandoffQueueDepth = handoffQueue
	config.DelegateProtocolMax = bundleReads
	config.UDPBufferSize = maxPacket
	config.EnableCompression = false // slow, and not needed: both ends also read what is not compressed
	config.Delegate, config.Events, config.Conflict, config.Ping, config.Alive, config.Merge = d, d, d, d, d, d
	config.Logger = c.trans.strangers
	return config
}

// Caps implements [driver.Driver].
func (c *conn) Caps() driver.Caps {
	return driver.Caps{MaxFrame: maxFrame, Linger: c.linger(), Membership: true, Exchange: true, Send: c.send, Updates: c.updates}
}

// linger is how long a stream may take, and how long a frame is repeated: four
// times the logarithm of the number of members, in gossip intervals. Under a flood
// repeats wait for longer, but they end with their sender.
func (c *conn) linger() time.Duration {
	return c.mesh.settings.TCPTimeout + 5*retransmitMult*c.mesh.settings.GossipInterval
}

// Serve implements [driver.Driver].
func (c *conn) Serve(ctx context.Context, h driver.Handler) error {
	c.gate.open(h)
	defer c.gate.close()
	defer context.AfterFunc(ctx, func() { c.cancel(nil) })()
	c.trans.start()
	c.logger.Info("listening for members", "address", c.mesh.settings.listen, "advertised", c.trans.advertise)
	c.loops.Go(c.roster.run)
	c.loops.Go(c.seeds.run)
	c.loops.Go(c.sender.watchPaths)
	<-c.ctx.Done()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(c.ctx)
}

// Broadcast implements [driver.Driver].
func (c *conn) Broadcast(ctx context.Context, frame []byte) error {
	if err := c.usable(frame); err != nil {
		return err
	}
	return c.sender.broadcast(ctx, frame)
}

func (c *conn) send(ctx context.Context, to driver.Member, frame []byte) error {
	if err := c.usable(frame); err != nil {
		return err
	}
	return c.sender.send(ctx, to, frame)
}

func (c *conn) updates(_ context.Context, updates iter.Seq2[string, []byte]) (heard bool, err error) {
	if err := c.usable(nil); err != nil {
		return false, err
	}
	return false, c.sender.updates(updates)
}

func (c *conn) usable(frame []byte) error {
	switch {
	case c.ctx.Err() != nil:
		return fmt.Errorf("memberlist: %w", driver.ErrClosed)
	case len(frame) > maxFrame:
		return fmt.Errorf("memberlist: %w: a frame of %d bytes; at most %d are sent", driver.ErrTooLarge, len(frame), maxFrame)
	}
	return nil
}

// The goodbye is gossiped for so many intervals, and for a second at most. Own nodes
// receive it directly.
const (
	leaveIntervals = 3
	leaveTimeout   = time.Second
)

// Close implements [driver.Driver]. A probe of memberlist that waits for its
// answer ends by itself, awarenessMax probe intervals later at most; its
// sockets are closed, and it makes no more calls.
func (c *conn) Close(ctx context.Context) error {
	c.cancel(nil)
	c.sender.goodbye(ctx)
	left := min(leaveTimeout, leaveIntervals*c.mesh.settings.GossipInterval)
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(deadline))
	}
	if err := c.mesh.list.Leave(max(left, time.Millisecond)); err != nil {
		c.logger.Debug("the goodbye may have reached nobody", "err", err)
	}
	return c.shutDown()
}

// shutDown closes all sockets and waits for what uses them.
func (c *conn) shutDown() error {
	c.sender.end()
	err := c.mesh.list.Shutdown()
	c.loops.Wait()
	c.sender.wg.Wait()
	c.mesh.knocks.Wait()
	return err
}

var _ driver.Driver = (*conn)(nil)
