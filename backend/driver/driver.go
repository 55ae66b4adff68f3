// Package driver is the interface between the portable layer of package
// backend and a transport. A driver carries frames; the portable layer does the
// rest: states, chunks, sequence numbers, heartbeats, views, state exchange,
// queues, metrics and opening again.
//
// A plain bus (publish and subscribe) leaves every field of [Caps] zero. Users
// of a cluster never import this package; package backend hands its types on.
package driver

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"
)

// An OpenFunc opens a driver. It is called again, with the same Options, after a
// link was lost, never while an earlier driver is still open.
//
// It connects and subscribes, so that nothing is missed after it returns. ctx
// bounds the opening only. It checks the parameters before it dials, even when
// ctx is already done: so a configuration can be checked without being used. A
// bad parameter is an error that wraps ErrConfig, names the key and prints no
// secret. A server that cannot be reached is an error that wraps
// ErrUnavailable; the portable layer tries again with back-off. After an error
// nothing is left running.
type OpenFunc func(ctx context.Context, o Options) (Driver, error)

// Options say who is opening a driver. They must not be modified.
type Options struct {
	Cluster  string            // the cluster's name, any valid UTF-8 up to 200 bytes; nothing may cross from one to another
	Self     Member            // this node; Addr is empty unless the user configured one
	Params   map[string]string // the backend's own block of configuration, undecoded (see package params)
	MaxBytes int               // no larger frame is ever handed to Broadcast or Send
	Logger   *slog.Logger      // never nil; the transport's library logs here too, never to stdout or stderr
}

// A Driver carries frames between the nodes of one cluster. Broadcast may be
// called from many goroutines at once, also while Serve runs; the other methods
// are called once each, in the order in which they stand here. Close may come
// without Serve.
type Driver interface {
	// Caps returns what the transport does natively.
	Caps() Caps

	// Serve hands h what arrives, until ctx is done or the link is lost. A driver
	// that Open has attached to the cluster begins with h.Link(nil).
	//
	// Once ctx is done it returns nil, soon and whatever the server does. Before, it
	// returns only when the link is lost: its error says why and wraps
	// ErrUnavailable. The driver is then closed and another one is opened, with
	// back-off, so a driver connects once and never again. If a client library
	// reconnects by itself, turn that off. If that would lose something, such as
	// the servers that it has discovered, Serve goes on meanwhile: it calls h.Link
	// with the reason, and h.Link(nil) once it is subscribed again.
	//
	// No method of h is called once Serve has returned. Callbacks of a library
	// hand over to Serve through a channel.
	Serve(ctx context.Context, h Handler) error

	// Broadcast sends frame to every node, best effort and without retrying: a
	// lost frame is found by its sequence number and repaired. It may block until
	// the transport has accepted the frame, at most until ctx is done; what queues
	// up meanwhile leaves as one frame, so a driver does not batch on its own. It
	// must not keep or modify frame after it returns. A frame above Caps.MaxFrame
	// is refused with ErrTooLarge. After Close the error wraps ErrClosed.
	Broadcast(ctx context.Context, frame []byte) error

	// Close leaves the cluster and releases every goroutine, connection and
	// subscription. Frames that Broadcast accepted are sent first, as far as ctx
	// allows. It is called once Serve has returned, or has not returned in time. A
	// driver whose link is lost need not say goodbye: its node comes back.
	Close(ctx context.Context) error
}

// Caps are the abilities of a transport. The zero value is a plain bus: every
// node hears every frame, its own included, and membership, state exchange and
// failure detection are made of frames by the portable layer. Being a plain
// struct it survives any wrapper.
type Caps struct {
	// MaxFrame is the largest frame in bytes; 0 means no limit. The portable layer
	// splits what is larger.
	MaxFrame int

	// Linger is how long after a frame was sent it, or another copy of it, can
	// still arrive: from a sender's queue, from the repeats of gossip, or from
	// what a broker holds for a subscriber that is behind. A member that left is
	// remembered for that long, so that a late frame does not bring it back. A new
	// subscription is handed nothing that is older: no retained message, no replay
	// from the start of a stream. Zero is for a transport that delivers at once or
	// never.
	Linger time.Duration

	// Membership: the driver calls Handler.Members, and Left if the transport
	// knows of goodbyes. No heartbeats are sent, and a node need not hear its own
	// frames.
	Membership bool

	// Exchange: the driver also moves full states by Handler.LocalState and
	// MergeState, and may have foreign members, which speak Alertmanager's
	// protocol: their updates come by Handler.Frame. The portable exchange goes on
	// beside it.
	Exchange bool

	// Send sends a frame to one member, otherwise like Broadcast. Frames to one
	// member arrive in order. to may hold no more than its Instance; a member that
	// the transport does not know (yet) is ErrUnavailable. Nil: the portable layer
	// broadcasts, in order, and the others ignore what is not for them.
	Send func(ctx context.Context, to Member, frame []byte) error

	// Updates hands updates to foreign members (Caps.Exchange only). It is called
	// before these updates are broadcast, and otherwise like Broadcast. They come
	// one by one, in order, with the key of the state: each is its own frame, of
	// any size, and a clusterpb.Part to a member that speaks Alertmanager's
	// protocol. It reports whether own nodes have heard all of them in the same
	// way; if not, Broadcast carries them too.
	Updates func(ctx context.Context, updates iter.Seq2[string, []byte]) (heard bool, err error)
}

// A Reason is why something that arrived was rejected. It is a label of the
// metric that counts them.
type Reason string

// The reasons that a driver has.
const (
	Malformed Reason = "malformed" // it is foreign, or damaged
	Foreign   Reason = "cluster"   // it is another cluster's
	Overflow  Reason = "overflow"  // it arrives faster than it is handled
)

// A Handler is the portable layer as a driver sees it. Its methods may be
// called from any goroutine, never block on the network, and keep and modify no
// argument.
type Handler interface {
	// Frame hands over one inbound frame. A bus hands over the node's own frames
	// too: hearing them is how a node knows that it is heard. If Caps.Exchange is
	// set, b may also be a clusterpb.Part of Alertmanager's.
	Frame(b []byte)

	// Reject counts something inbound that is no frame, and logs why, each reason
	// once in a while. Do not hand such input to Frame instead.
	Reject(why Reason, err error)

	// Link reports the state of the link to the cluster: nil when attached, and
	// after every new subscription, because frames were missed in between; else
	// why it is down while the driver's library tries to reconnect. A link that is
	// lost for good is Serve's error.
	Link(err error)

	// Members replaces the list of live members, this node included, in any order
	// (Caps.Membership only). A Member with an empty Instance is foreign.
	Members(all []Member)

	// Left reports that m has said goodbye. It comes before the call of Members
	// without m (Caps.Membership only); if a later one lists m, it is back. A
	// member that vanishes without Left has failed.
	Left(m Member)

	// Probe reports a round trip to a member, or to the server, that the transport
	// measured by itself, or its failure. It is optional.
	Probe(target string, rtt time.Duration, err error)

	// Trouble reports what an operator should see to although the link works, such
	// as servers that contradict each other; a nil err ends that. what is a constant
	// text that names it. It is logged, and shown by the status page, as long as
	// this driver serves. It is optional.
	Trouble(what string, err error)

	// Lost reports that something that Broadcast or Send has accepted, and that may
	// have come from another node to be passed on, has not reached a member. It is
	// optional, and counted: what is missed is found as after any loss.
	Lost(to Member, err error)

	// LocalState returns this node's full state, for MergeState of another member
	// (Caps.Exchange only): a clusterpb.FullState of Alertmanager's. It takes as
	// long as marshalling takes.
	LocalState() []byte

	// MergeState merges another member's full state (Caps.Exchange only).
	MergeState(b []byte)
}

// A Member is one live node of a cluster.
type Member struct {
	Name     string            // chosen by the user; not necessarily unique
	Instance string            // random, new at every Open
	Addr     string            // where it can be reached, in the transport's terms; may be empty
	Meta     map[string]string // chosen by the user; must not be modified
}

// The errors of a driver. Wrap both the sentinel and the cause:
// fmt.Errorf("redis: %w: %w", driver.ErrUnavailable, err).
var (
	ErrConfig      = errors.New("bad configuration") // trying again cannot help
	ErrUnavailable = errors.New("unavailable")       // trying again may help
	ErrTooLarge    = errors.New("too large")         // above Caps.MaxFrame
	ErrClosed      = errors.New("closed")            // used after Close
)
