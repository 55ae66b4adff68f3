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
// [Params] describes each key. Wrong credentials, a missing permission, a
// certificate that cannot be verified and a server that speaks something else
// are ErrConfig when the node is opened. Later they are the reason in the view,
// as is an endpoint that does not answer, and the node keeps trying.
//
// With authentication a user needs a role with readwrite on what is below
// Prefix, and no more: "etcdctl role grant-permission ROLE readwrite --prefix
// /clusterchannel/". Each right is tried when a node is opened, the one to write
// frames in a way that writes none. One that is taken away later detaches the node
// at its first use. The reason names the right and the key.
//
// # Delivery
//
// A frame is put into the one key that its node has for frames, in place of the
// frame before. Watchers see every version of a key, in order, so nothing needs
// to be deleted, and at most one frame of a node is stored as current.
// Broadcast returns when etcd has committed; what queues up meanwhile leaves as
// one frame, so that a burst of 20,000 broadcasts is some 20 writes.
//
// A watch begins after the revision at which the members were read. What was
// put while a link was lost is repaired by an exchange of the states.
//
// What is for one node, such as a state that it lacks, is put into that node's own
// key, which it alone watches, and which goes with its lease. About 1 MiB of it is
// on its way to a node that has not confirmed it.
//
// Frames are at most max_frame; larger payloads go in pieces, eight at a time. A
// server that takes less says so in the log: raise its --max-request-bytes, or
// lower max_frame.
//
// # Membership
//
// A node is a key under a lease, which it renews five times in its length,
// without any write to the store. A node that leaves says so in its key, and then
// revokes the lease. One whose key vanishes without that, and
// is not there again within 400 ms, has failed: by default 2.4 to 2.9 s after it was
// last heard, as etcd looks for expired leases every half second. The shortest lease
// is the server's, one and a half times its election timeout rounded up: 2s by
// default. The 400 ms are for a leader of etcd that was paused: it may revoke leases
// that were renewed meanwhile, and their nodes write their keys again at once.
//
// A key below the prefix that is no member and no frame is left alone, and
// counted as a malformed frame.
//
// # When the server is lost
//
// One endpoint is used at a time, for the lease, the watch and all writes. A
// node is Detached when any of them fails, when the server has no leader, when
// it renews no lease for four fifths of its length (three where there is another
// endpoint, so that the lease can be renewed by that one), or when the watch,
// asked for its progress, is silent for 4 seconds. So it notices a link that is
// half open, and a watch that is dead on a working link. Endpoints are tried in
// turn, each a quarter of a second after the one before, for ever; the first
// that reads from a quorum is used. The lease goes on. If it has expired or was
// revoked, or somebody deleted or changed the node's key, the node says so,
// gets its lease again and writes its key again.
//
// A request that is not answered for two seconds, such as one that was lost with
// etcd's leader, is said again; watchers may then see a frame twice. A new leader
// extends all leases. A restart of etcd takes an election, one to two seconds by
// default: set grace longer than that.
//
// A token that has expired, or was forgotten by a server, is replaced by
// another login; the link is not lost for it. A link that was lost costs one too.
//
// An etcd out of quota (NOSPACE) takes no writes. Members stay, as leases are
// renewed without one; broadcasts fail, which is counted as publish failures
// and logged with what to do: etcdctl compact, defrag and alarm disarm. A node
// that joins then is Detached with that reason. Once there is room, state
// exchange repairs all.
//
// # Server footprint
//
// The keys of a cluster, whose name is escaped as in a URL:
//
//	<prefix>/<cluster>/members/<instance>  name, instance, address and meta data, as JSON
//	<prefix>/<cluster>/frames/<instance>   its latest frame for all
//	<prefix>/<cluster>/to/<instance>       the latest frame for it alone
//
// All belong to the node's one lease, and Close revokes it: nothing is left. A
// node that is killed leaves them until its lease has expired.
//
// In raft writes, each of one revision: a broadcast 1, of as many updates as had
// queued up; a join 3, for the lease, the key and the question for the states, and
// 1 or more for the answer; a leave 3; a login 1. A mark, which tells the last
// numbers and a digest of the view, is 1: after a broadcast at once and twice more
// within ten seconds, when a state was added or became ready, and every 30s. An
// exchange of states that differ in nothing is 2, of about 150 bytes each. So an
// idle node with the default sync of 30s costs 360 writes and 50 KB of them an hour,
// and in all about 2 MB on the wire for leases and the watch, which does not pass
// through the server's store and raft. A frame for all goes to every node, so that
// a cluster of N nodes is sent N times what is broadcast.
//
// 1,000 updates of 200 bytes a minute, evenly apart, are as many writes: 50 MiB of
// history an hour, until it is compacted, and 5 MB of memory.
//
// Each member of etcd keeps its latest writes in memory, whatever their age, each
// as raft's entry and decoded: 5,000 since etcd 3.6 (--snapshot-catchup-entries),
// and before that up to --snapshot-count more. No write is larger than max_frame,
// so with the default of 64 KiB all clusters of this backend on one etcd take 625
// MiB of memory at most; before 3.6 set --snapshot-count=10000, and it is 1.8 GiB.
// Half the max_frame halves it, and a megabyte takes twice as many writes. Sending
// a state to one node alone does not spare it, nor would deleting it at once, since
// raft keeps both. A node adds up the frames that it has put or seen among the latest
// 10,000 writes, and from 128 MiB on its log and its status page tell of it.
//
// etcd keeps each version of a key until it is compacted, so an etcd that nobody
// compacts fills up: set --auto-compaction-retention, or compact by a job, as
// Kubernetes does for its own. This backend never compacts, since that would
// concern everything stored there.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3/credentials"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

func init() { backend.Register("etcd", driver.Backend{Open: Open, Params: Params{}, Examine: examine}) }

// Open starts a driver; it is registered as backend "etcd".
func Open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	p, err := parse(o.Params)
	if err != nil {
		return nil, err
	}
	if err := params.RequireCluster(o.Cluster); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	c, err := newSeat(o, p).connect(ctx)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// seat is a node as etcd knows it, whichever endpoint it uses.
type seat struct {
	params Params
	keys   layout
	self   driver.Member
	record []byte // the value of the node's key
	lease  int64
	logger *slog.Logger
	tokens credentials.PerRPCCredentialsBundle
}

func newSeat(o driver.Options, p Params) *seat {
	return &seat{
		params: p, keys: newLayout(p.Prefix, o.Cluster), self: o.Self, record: encodeMember(o.Self, false), lease: leaseOf(o.Self.Instance),
		logger: o.Logger, tokens: credentials.NewPerRPCCredentialBundle(),
	}
}

func (s *seat) memberKey() string { return s.keys.members + s.self.Instance }
func (s *seat) frameKey() string  { return s.keys.frames + s.self.Instance }
func (s *seat) ownKey() string    { return s.keys.to + s.self.Instance }

// ownKeys are those that end with the node's instance.
func (s *seat) ownKeys() []string { return []string{s.memberKey(), s.frameKey(), s.ownKey()} }

// leaseOf returns the number of a node's lease, which it keeps whenever it is
// opened again. Instances are random, so the numbers are too.
func leaseOf(instance string) int64 { return int64(xxhash.Sum64String(instance)>>1 | 1) }

// Caps implements [driver.Driver].
func (c *conn) Caps() driver.Caps {
	return driver.Caps{MaxFrame: int(c.seat.params.MaxFrame), Linger: linger, Membership: true, Send: c.flow.Send}
}

// linger is how far a watch may be behind while it still sends something now
// and then: the server reads old events from its store, as slowly as the node
// receives them.
const linger = time.Minute

// Serve keeps the lease and hands over what the watch receives, until something
// fails.
func (c *conn) Serve(ctx context.Context, h driver.Handler) error {
	defer context.AfterFunc(ctx, func() { c.cancel(context.Canceled) })()
	h.Members(c.roster.all())
	h.Link(nil)
	var loops sync.WaitGroup
	for _, loop := range []func(driver.Handler) error{c.receiveEvents, c.handleEvents, c.receiveRenewals, c.beat, c.confirm} {
		loops.Go(func() {
			if err := loop(h); err != nil {
				c.cancel(err)
			}
		})
	}
	loops.Wait()
	if ctx.Err() != nil {
		return nil
	}
	c.lost.Store(true)
	return fmt.Errorf("etcd: %w: the link to %s is lost: %w", driver.ErrUnavailable, c.endpoint, plain(context.Cause(c.ctx)))
}

// Broadcast implements [driver.Driver]. The frame takes the place of the one
// before: watchers see each version of a key. Several pieces of a large frame are
// on their way at once; its last one, which is smaller, waits for them, as every
// other frame does.
func (c *conn) Broadcast(ctx context.Context, frame []byte) error {
	return c.send(ctx, target{c.seat.frameKey(), c.seat.lease, c.toAll}, frame)
}

// target is where a frame is put: a key, the lease that it is under, and what is on
// its way to such keys.
type target struct {
	key    string
	lease  int64
	flight *flight
}

// sendTo puts a payload into the key of one node, in place of the one before. It
// is under that node's lease: it goes when the node does, and cannot be put when
// there is no such node.
func (c *conn) sendTo(ctx context.Context, instance string, payload []byte) error {
	return c.send(ctx, target{c.seat.keys.to + instance, leaseOf(instance), c.toOne}, payload)
}

// confirm confirms what this node was sent, as long as the link holds.
func (c *conn) confirm(driver.Handler) error { return c.flow.Serve(c.ctx) }

func (c *conn) send(ctx context.Context, to target, frame []byte) error {
	limit := int(c.seat.params.MaxFrame)
	switch {
	case c.ctx.Err() != nil:
		return fmt.Errorf("etcd: %w", driver.ErrClosed)
	case len(frame) > limit:
		return fmt.Errorf("etcd: %w: a frame of %d bytes; max_frame is %v", driver.ErrTooLarge, len(frame), c.seat.params.MaxFrame)
	case len(frame) > limit-fullMargin:
		return to.flight.begin(ctx, frame, func(ctx context.Context, piece []byte) error { return c.deliver(ctx, to, piece) })
	}
	if err := to.flight.wait(ctx); err != nil {
		return err
	}
	return c.deliver(ctx, to, frame)
}

// deliver puts a frame. Its error says what it means for a user.
func (c *conn) deliver(ctx context.Context, to target, frame []byte) error {
	p := &c.seat.params
	err := c.put(ctx, to.key, to.lease, frame)
	c.noteSpace(err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("etcd: %s: %w", c.endpoint, ctx.Err())
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("etcd: %w: a frame of %d bytes; the server takes less: raise its --max-request-bytes, or lower max_frame, now %v",
			driver.ErrTooLarge, len(frame), p.MaxFrame)
	case errors.Is(err, rpctypes.ErrLeaseNotFound) && to.lease != c.seat.lease:
		return fmt.Errorf("etcd: %w: there is no member for %s", driver.ErrUnavailable, to.key)
	case errors.Is(err, rpctypes.ErrPermissionDenied): // nobody hears this node
		c.cancel(err)
	}
	return p.explain(c.endpoint, err)
}

// noteSpace logs when the server runs out of quota, and when it takes writes
// again. Members keep their leases meanwhile, so the link is not lost.
func (c *conn) noteSpace(err error) {
	full := errors.Is(err, rpctypes.ErrNoSpace)
	if err != nil && !full {
		return
	}
	switch changed := c.full.Swap(full) != full; {
	case changed && full:
		c.seat.logger.Error(noSpaceHint)
	case changed:
		c.seat.logger.Info("the server has room again and takes writes")
	}
}

// Close implements [driver.Driver]. If the link is lost the lease stays, since
// the node may come back.
func (c *conn) Close(ctx context.Context) error {
	c.cancel(context.Canceled)
	if !c.lost.Load() {
		c.leave(ctx)
	}
	c.close()
	return nil
}

var _ driver.Driver = (*conn)(nil)
