// Package etcd is the backend "etcd": members and frames are keys of an etcd
// cluster, 3.4 or newer, under leases and seen by a watch.
//
//	backend.Open(ctx, backend.Config{
//		Backend: "etcd",
//		Cluster: "alerts",
//		Params:  map[string]string{"endpoints": "etcd-0:2379,etcd-1:2379,etcd-2:2379"},
//	})
//
// # Parameters
//
// [Params] describes each key. Wrong credentials, a permission that lacks, a
// certificate that cannot be verified and a server that speaks something else
// are ErrConfig when the node is opened; later, and where an endpoint does not
// answer, they are the reason in the view, and the node tries on.
//
// With authentication a user needs a role with readwrite on what is below
// Prefix, and no more: "etcdctl role grant-permission ROLE readwrite --prefix
// /clusterchannel/".
//
// # Delivery
//
// A frame is put into the one key that its node has for frames, in place of the
// frame before. Watchers see every version of a key, in order, so nothing is to
// be deleted, and at most one frame of a node is stored as current. Broadcast
// returns when etcd has committed; what queues up meanwhile leaves as one frame,
// so that a burst of 20,000 broadcasts is some 20 writes.
//
// A watch begins behind the last revision that the one before had told, so that
// what was put while a link was lost arrives. Where that was compacted away, or
// the store is another one, members are read anew, with what was deleted, and
// the states are exchanged.
//
// Frames are at most max_frame; larger payloads go in pieces. A server that
// takes less says so in the log: raise its --max-request-bytes, or lower
// max_frame.
//
// # Membership
//
// A node is a key under a lease, which it renews five times in its length,
// without any write to the store. A key that vanishes without a goodbye has
// failed: by default 2.0 to 2.5 s after its node was last heard, as etcd looks
// for expired leases every half second. The shortest lease is the server's, one
// and a half times its election timeout rounded up: 2s by default.
//
// What stands among our keys and is no member, or no frame, is left alone and
// counted as a malformed frame.
//
// # When the server is lost
//
// One endpoint is used at a time, for the lease, the watch and all writes. A
// node is Detached when any of them fails, when the server has no leader, when
// it renews no lease for four fifths of its length (three where there is another
// endpoint, so that the lease can be renewed by that one), or when the watch, asked for its progress, is silent for 4 seconds. So a link which is half
// open shows, and a watch that is dead on a link which is not. Endpoints are tried in turn, each a
// quarter of a second after the one before, for ever; the first that reads from
// a quorum is used. The lease goes on, or where it has expired, was revoked, or
// somebody deleted or changed the node's key, the node tells so, takes a new one and puts
// its key there again.
//
// After the loss of etcd's leader the new one extends all leases. A restart of
// etcd takes an election, one to two seconds by default: grace is to be longer.
//
// A token that has expired, or was forgotten by a server, is replaced by
// another login; the link is not lost for it.
//
// An etcd out of quota (NOSPACE) takes no writes. Members stay, as leases are
// renewed without one; broadcasts fail, which is counted as publish failures and
// logged with the way out: etcdctl compact, defrag and alarm disarm. A node that
// comes then is Detached with that reason. Once there is room, state exchange
// repairs all.
//
// # Server footprint
//
// The keys of a cluster, whose name is escaped as in a URL:
//
//	<prefix>/<cluster>/members/<instance>  name, instance, address and meta data, as JSON
//	<prefix>/<cluster>/frames/<instance>   its latest frame
//
// Both hang on the node's one lease, and Close revokes that: nothing is left. A
// node that is killed leaves them until its lease has expired.
//
// In raft writes, each of one revision: a broadcast 1, of as many updates as had
// queued up; a join 3, for the lease, the key and the question for the states, and
// 1 or more for the answer; a leave 2; a login 1. An exchange of states that
// differ in nothing is 2, of about 150 bytes each. So an idle node with the
// default sync of 30s costs 240 writes and 36 KB of them an hour, and in all
// about 2 MB on the wire for leases and the watch, which the server's store and
// raft have no part in. Every frame goes to every node, so that a cluster of N
// nodes is sent N times what is written.
//
// etcd keeps each version of a key until it is compacted, so an etcd that nobody
// compacts fills up: set --auto-compaction-retention, or compact by a job, as
// Kubernetes does for its own. This backend never compacts, for that concerns
// all that is stored.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3/credentials"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

func init() { backend.Register("etcd", driver.Backend{Open: Open, Params: Params{}, Examine: examine}) }

const (
	backoffMin   = 50 * time.Millisecond
	backoffMax   = 500 * time.Millisecond
	leaveTimeout = time.Second
)

// node is the driver. It lives through many sessions: what one has learnt helps
// the next one to miss nothing.
type node struct {
	params Params
	keys   layout
	self   driver.Member
	record []byte // the value of this node's key
	h      driver.Handler
	logger *slog.Logger
	tokens credentials.PerRPCCredentialsBundle
	roster roster
	lease  int64 // of the latest session; 0: none yet
	next   int   // the endpoint to try first

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended

	mu       sync.Mutex
	session  *session        // nil while there is no link
	closeCtx context.Context // of Close
	full     bool            // the server said that it is out of quota
}

// Open starts a driver; it is registered as backend "etcd".
func Open(ctx context.Context, o driver.Options, h driver.Handler) (driver.Driver, error) {
	p, err := parse(o.Params)
	if err != nil {
		return nil, err
	}
	if err := params.RequireCluster(o.Cluster); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	record, err := encodeMember(o.Self)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w: meta: %w", driver.ErrConfig, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	n := &node{
		params: p, keys: newLayout(p.Prefix, o.Cluster), self: o.Self, record: record, h: h, logger: o.Logger,
		next: rand.IntN(len(p.Endpoints)), tokens: credentials.NewPerRPCCredentialBundle(), done: make(chan struct{}),
	}
	n.roster.init(n)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, n.cancel)
	s, err := n.connect()
	if !stop() && err == nil {
		s.close()
		err = fmt.Errorf("etcd: %w", ctx.Err())
	}
	if err != nil {
		n.cancel()
		return nil, err
	}
	n.attach(s)
	go n.run(s)
	return n, nil
}

// attach makes s the session that broadcasts go to, and tells so.
func (n *node) attach(s *session) {
	n.mu.Lock()
	n.session = s
	n.mu.Unlock()
	n.roster.tell()
	n.h.Link(nil)
}

// run serves one session after another until Close.
func (n *node) run(s *session) {
	defer close(n.done)
	for s != nil {
		began := time.Now()
		err := s.serve()
		n.mu.Lock()
		n.session = nil
		n.mu.Unlock()
		if n.ctx.Err() != nil {
			s.leave(n.leaveContext())
			s.close()
			return
		}
		s.close()
		n.h.Link(fmt.Errorf("etcd: the link to %s is lost: %w", s.endpoint, plain(err)))
		if !errors.Is(err, errLeaseLost) && !errors.Is(err, errKeyLost) {
			n.passOver(s)
		}
		s = n.reconnect(time.Since(began) > time.Second)
	}
}

// reconnect tries for ever, at once the first time where that is allowed. It
// returns nil when the driver is closed.
func (n *node) reconnect(atOnce bool) *session {
	backoff, told := backoffMin, ""
	for attempt := 0; ; attempt++ {
		if attempt > 0 || !atOnce {
			if !n.pause(time.Duration(float64(backoff) * (0.5 + rand.Float64()/2))) {
				return nil
			}
			backoff = min(2*backoff, backoffMax)
		}
		s, err := n.connect()
		if err == nil {
			n.attach(s)
			return s
		}
		if n.ctx.Err() != nil {
			return nil
		}
		// An error that wraps ErrUnavailable would say that this driver gives up.
		if text := err.Error(); text != told {
			told = text
			n.h.Link(errors.New(text))
		}
	}
}

// pause waits for d. It tells whether the driver is still open.
func (n *node) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.ctx.Done():
		return false
	}
}

// Caps implements [driver.Driver].
func (n *node) Caps() driver.Caps {
	return driver.Caps{MaxFrame: int(n.params.MaxFrame), Membership: true}
}

// Broadcast implements [driver.Driver]. The frame takes the place of the one
// before: watchers see each version of a key.
func (n *node) Broadcast(ctx context.Context, frame []byte) error {
	n.mu.Lock()
	s := n.session
	n.mu.Unlock()
	switch {
	case n.ctx.Err() != nil:
		return fmt.Errorf("etcd: %w", driver.ErrClosed)
	case len(frame) > int(n.params.MaxFrame):
		return fmt.Errorf("etcd: %w: a frame of %d bytes; max_frame is %v", driver.ErrTooLarge, len(frame), n.params.MaxFrame)
	case s == nil:
		return fmt.Errorf("etcd: %w: there is no link", driver.ErrUnavailable)
	}
	err := s.put(ctx, n.keys.frames+n.self.Instance, frame)
	n.noteSpace(err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("etcd: %s: %w", s.endpoint, ctx.Err())
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("etcd: %w: a frame of %d bytes; the server takes less: raise its --max-request-bytes, or lower max_frame, now %v",
			driver.ErrTooLarge, len(frame), n.params.MaxFrame)
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		s.cancel(errLeaseLost)
	}
	return n.params.explain(s.endpoint, err)
}

// noteSpace logs when the server runs out of quota, and when it takes writes
// again. Members keep their leases meanwhile, so the link is not lost.
func (n *node) noteSpace(err error) {
	full := errors.Is(err, rpctypes.ErrNoSpace)
	if err != nil && !full {
		return
	}
	n.mu.Lock()
	changed := n.full != full
	n.full = full
	n.mu.Unlock()
	switch {
	case changed && full:
		n.logger.Error(noSpaceHint)
	case changed:
		n.logger.Info("the server has room again and takes writes")
	}
}

// Close implements [driver.Driver].
func (n *node) Close(ctx context.Context) error {
	n.mu.Lock()
	if n.closeCtx == nil {
		n.closeCtx = ctx
	}
	n.mu.Unlock()
	n.cancel()
	<-n.done
	return nil
}

func (n *node) leaveContext() context.Context {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closeCtx
}

var _ driver.Driver = (*node)(nil)
