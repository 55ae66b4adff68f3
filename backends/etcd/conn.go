package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/driver/flow"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// conn is the driver: one connection to one endpoint, with a lease that is kept
// alive and a watch. A failure of any of them ends it: the client's own
// retrying would hide a loss. Calls fail at once if there is no connection.
type conn struct {
	seat     *seat
	endpoint string
	timer    *time.Timer // ends the opening
	client   *clientv3.Client
	auth     etcdserverpb.AuthClient
	kv       etcdserverpb.KVClient
	leases   etcdserverpb.LeaseClient

	ctx    context.Context // ends with the link, by its cause
	cancel context.CancelCauseFunc
	alive  atomic.Pointer[renewals]
	watch  *stream
	events chan *etcdserverpb.WatchResponse // from watch
	toAll  *flight
	toOne  *flight                       // apart, since what is for who has gone fails
	early  []*etcdserverpb.WatchResponse // that came before all ranges were watched
	flow   *flow.Flow
	weight weight
	roster roster
	ttl    time.Duration // of the lease, as granted
	lost   atomic.Bool   // the link
	full   atomic.Bool   // the server said that it is out of quota

	renewed atomic.Int64 // when the lease was last renewed, since began
	watched atomic.Int64 // when the watch last sent something, or when it began
	began   time.Time
}

// renewals is the stream by which the lease is renewed.
type renewals struct {
	etcdserverpb.Lease_LeaseKeepAliveClient
}

// A node gives up a server that is silent for three of the five beats that a
// lease has, if there is another endpoint to renew it by; else for four, so
// that it knows before the others do. The watch has longer, since a large event
// on its way delays everything after it.
const (
	beatsPerLease = 5
	silentBeats   = 3
	patientBeats  = 4
	maxBeat       = time.Second
	watchSilence  = 4 * time.Second
)

// at returns a connection that is not open yet. Call reach, and then settle;
// both together may take as long as dial_timeout.
func (s *seat) at(endpoint string) *conn {
	c := &conn{seat: s, endpoint: endpoint, toAll: newFlight(), toOne: newFlight(), events: make(chan *etcdserverpb.WatchResponse), began: time.Now()}
	c.flow = flow.New("etcd", s.self.Instance, c.sendTo)
	c.ctx, c.cancel = context.WithCancelCause(clientv3.WithRequireLeader(context.Background()))
	limit := s.params.DialTimeout
	c.timer = time.AfterFunc(limit, func() { c.cancel(fmt.Errorf("%w within %v", errNoAnswer, limit)) })
	return c
}

// reach shows that the endpoint can be used and has a quorum behind it: it reads
// the members. It changes nothing.
func (c *conn) reach() error {
	return c.steps(c.connect, c.read)
}

// settle makes the node a member: it holds a lease, the watch runs, and its key is
// there. Others see it when nothing can go wrong any more.
func (c *conn) settle() error {
	defer c.timer.Stop()
	return c.steps(c.hold, c.startWatch, c.register)
}

// steps runs one step after the other. Its error says what it means for a user.
func (c *conn) steps(steps ...func() error) error {
	for _, step := range steps {
		err := step()
		if cause := context.Cause(c.ctx); cause != nil {
			err = cause
		}
		if err != nil {
			return c.seat.params.explain(c.endpoint, err)
		}
	}
	return nil
}

// zoneMark stands before an IPv6 zone in what the client takes for a URL.
const zoneMark = "%25"

func (c *conn) connect() error {
	p := &c.seat.params
	tls, err := p.TLSConfig(p.TLSMinVersion) // read again, so that replaced files take effect
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	options := []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", strings.ReplaceAll(addr, zoneMark, "%"))
		}),
		grpc.WithPerRPCCredentials(c.seat.tokens.PerRPCCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(int(p.MaxFrame)+2*requestOverhead), grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	}
	if p.TLSServerName != "" { // etcd's client puts the endpoint's host in place of that of the tls.Config
		options = append(options, grpc.WithAuthority(p.TLSServerName))
	}
	c.client, err = clientv3.New(clientv3.Config{
		Endpoints:       []string{strings.ReplaceAll(c.endpoint, "%", zoneMark)},
		TLS:             tls,
		Context:         c.ctx,
		Logger:          newZap(c.seat.logger),
		MaxUnaryRetries: 1,
		DialOptions:     options,
	})
	if err != nil {
		return params.Bad("endpoints", "%w", err)
	}
	conn := c.client.ActiveConnection()
	c.auth, c.kv, c.leases = etcdserverpb.NewAuthClient(conn), etcdserverpb.NewKVClient(conn), etcdserverpb.NewLeaseClient(conn)
	return nil
}

// loginTimeout is how long a server may take to compare a password, which is
// slow on purpose, and slower when many nodes come at once.
const loginTimeout = 10 * time.Second

// login gets a token. That is a raft write, so the token stays with the node: it
// is good for all calls and all members, until the server forgets it.
func (c *conn) login(ctx context.Context) error {
	if c.timer.Stop() { // it is about endpoints that do not answer
		defer c.timer.Reset(c.seat.params.DialTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	p := &c.seat.params
	r, err := c.auth.Authenticate(ctx, &etcdserverpb.AuthenticateRequest{Name: p.Username, Password: p.Password})
	if err != nil {
		return err
	}
	c.seat.tokens.UpdateAuthToken(r.Token)
	return nil
}

// writePatience is how long a request may go unanswered before it is said again, and
// half of how long the next one may: more than an election of etcd's leader takes. What
// is lost with a leader, etcd gives up after seven seconds.
const writePatience = 2 * time.Second

// call calls f, and again after a login if the server wants a token, or another
// one, or if there is no answer: f must ask for what may be done twice. Its error is
// etcd's own if the server has answered, and the cause of the lost link if that is
// the reason.
func (c *conn) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	err := c.insist(ctx, f)
	if err != nil && c.seat.params.Username != "" && needsLogin(err) {
		if err = c.login(ctx); err == nil {
			err = c.insist(ctx, f)
		}
	}
	if cause := context.Cause(c.ctx); err != nil && cause != nil {
		return cause
	}
	return rpctypes.Error(err)
}

// insist calls f until there is an answer, or ctx is done. A request that its member
// of etcd has passed on to a leader is lost with that, and whoever has cancelled one is
// not overtaken by it: what survives of an old leader's log is committed before
// anything new.
func (c *conn) insist(ctx context.Context, f func(context.Context) error) error {
	for patience := writePatience; ; patience *= 2 {
		try, cancel := context.WithTimeout(ctx, patience)
		err := f(try)
		unanswered := err != nil && ctx.Err() == nil && (try.Err() != nil || status.Code(err) == codes.DeadlineExceeded)
		cancel()
		if !unanswered {
			return err
		}
		c.seat.logger.Debug("a request to etcd was not answered, and is said again", "endpoint", c.endpoint, "for", patience)
	}
}

// hold renews the node's lease, or requests it.
func (c *conn) hold() error {
	if err := c.openRenewals(); err != nil {
		return err
	}
	held, err := c.renew()
	if held || err != nil {
		return err
	}
	err = c.call(c.ctx, func(ctx context.Context) error {
		r, err := c.leases.LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{ID: c.seat.lease, TTL: int64(c.seat.params.LeaseTTL / time.Second)})
		if err == nil {
			c.ttl = time.Duration(r.TTL) * time.Second
		}
		return err
	})
	if errors.Is(err, rpctypes.ErrLeaseExist) { // the answer before was lost
		if held, err = c.renew(); err == nil && !held {
			err = errLeaseLost
		}
	}
	return err
}

// renew renews the lease once, if there is one.
func (c *conn) renew() (held bool, err error) {
	alive := c.alive.Load()
	_ = alive.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: c.seat.lease}) // Recv returns the reason
	r, err := alive.Recv()
	if err != nil || r.TTL <= 0 {
		return false, err
	}
	c.ttl = time.Duration(r.TTL) * time.Second
	return true, nil
}

func (c *conn) openRenewals() error {
	client, err := c.leases.LeaseKeepAlive(c.ctx)
	if err == nil {
		c.alive.Store(&renewals{client})
	}
	return err
}

// read reads the members.
func (c *conn) read() error {
	keys := c.seat.keys
	return c.call(c.ctx, func(ctx context.Context) error {
		r, err := c.kv.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte(keys.members), RangeEnd: end(keys.members)})
		if err == nil {
			c.roster = newRoster(c.seat, r)
		}
		return lacking("read", keys.members+"*", err)
	})
}

// register puts this node's key where it was not among those that were read, and
// finds out whether the node may put frames. It stores nothing else, so that a
// node keeps its seat on a server that is out of quota.
func (c *conn) register() error {
	keys := c.seat.ownKeys()
	var member *etcdserverpb.RequestOp
	if !c.roster.registered {
		member = c.putRequest(c.seat.memberKey(), c.seat.record)
	}
	err := c.mayPut(member, keys...)
	if errors.Is(err, rpctypes.ErrPermissionDenied) { // to which of them?
		for _, key := range keys {
			if one := c.mayPut(nil, key); errors.Is(one, rpctypes.ErrPermissionDenied) {
				return lacking("write", key, one)
			}
		}
	}
	if c.roster.registered && errors.Is(err, rpctypes.ErrNoSpace) { // it is asked for room first
		return nil
	}
	return err
}

// mayPut finds out whether the node may put keys, without putting them: the server
// looks at the rights to all that a transaction holds, and this one never gets
// there. It does other instead, if there is any.
func (c *conn) mayPut(other *etcdserverpb.RequestOp, keys ...string) error {
	txn := &etcdserverpb.TxnRequest{
		Compare: []*etcdserverpb.Compare{{
			Key: []byte(c.seat.memberKey()), Target: etcdserverpb.Compare_VERSION, Result: etcdserverpb.Compare_LESS,
			TargetUnion: &etcdserverpb.Compare_Version{Version: 0},
		}},
	}
	for _, key := range keys {
		txn.Success = append(txn.Success, c.putRequest(key, nil))
	}
	if other != nil {
		txn.Failure = append(txn.Failure, other)
	}
	return c.call(c.ctx, func(ctx context.Context) error {
		_, err := c.kv.Txn(ctx, txn)
		return err
	})
}

func (c *conn) putRequest(key string, value []byte) *etcdserverpb.RequestOp {
	put := &etcdserverpb.PutRequest{Key: []byte(key), Value: value, Lease: c.seat.lease}
	return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: put}}
}

// put puts a frame in the place of the one before. What others do not see is
// weighed here.
func (c *conn) put(ctx context.Context, key string, lease int64, frame []byte) error {
	return lacking("write", key, c.call(ctx, func(ctx context.Context) error {
		r, err := c.kv.Put(ctx, &etcdserverpb.PutRequest{Key: []byte(key), Value: frame, Lease: lease})
		if err == nil && lease != c.seat.lease {
			c.weight.add(r.Header.Revision, len(frame))
		}
		return err
	}))
}

// beat asks for the lease to be renewed and for a sign of life from the watch,
// and ends when either is missing for too long: a link may be half
// open, and a watch dead on a connection that works.
func (c *conn) beat(h driver.Handler) error {
	beat := min(c.ttl/beatsPerLease, maxBeat)
	tick := time.NewTicker(beat / 2)
	defer tick.Stop()
	c.mark(&c.renewed)
	c.mark(&c.watched)
	// A stream that takes no more blocks its sender.
	var senders sync.WaitGroup
	defer senders.Wait()
	ask := make(chan struct{}, 1)
	defer close(ask)
	senders.Go(func() {
		for range ask {
			c.ask()
		}
	})
	for half := 0; ; half++ {
		if half%2 == 0 {
			select {
			case ask <- struct{}{}:
			default:
			}
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return nil
		}
		if err := c.silent(beat); err != nil {
			h.Probe(c.endpoint, 0, err)
			return err
		}
	}
}

// silent returns what has been missing for too long.
func (c *conn) silent(beat time.Duration) error {
	beats := time.Duration(patientBeats)
	if len(c.seat.params.Endpoints) > 1 {
		beats = silentBeats
	}
	if quiet := c.since(&c.renewed); quiet > beats*beat {
		return fmt.Errorf("the lease was not renewed for %v", quiet.Round(time.Millisecond))
	}
	if quiet := c.since(&c.watched); quiet > watchSilence {
		return fmt.Errorf("the watch is silent for %v", quiet.Round(time.Millisecond))
	}
	return nil
}

// ask sends both requests. If it fails, the receivers learn why.
func (c *conn) ask() {
	_ = c.alive.Load().Send(&etcdserverpb.LeaseKeepAliveRequest{ID: c.seat.lease})
	_ = c.watch.send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{
		ProgressRequest: &etcdserverpb.WatchProgressRequest{},
	}})
}

func (c *conn) mark(at *atomic.Int64) { at.Store(int64(time.Since(c.began))) }

func (c *conn) since(at *atomic.Int64) time.Duration {
	return time.Since(c.began) - time.Duration(at.Load())
}

// receiveRenewals notes that the lease was renewed. A stream has the token that
// it was opened with, so it ends when that expires, and another is opened.
func (c *conn) receiveRenewals(driver.Handler) error {
	for {
		r, err := c.alive.Load().Recv()
		switch {
		case err != nil && c.seat.params.Username != "" && needsLogin(err):
			if err := c.login(c.ctx); err != nil {
				return err
			}
			if err := c.openRenewals(); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case r.TTL <= 0:
			return errLeaseLost
		}
		c.mark(&c.renewed)
	}
}

const leaveTimeout = time.Second // of each of the two requests

// leave tells the others that this node leaves, and then revokes the lease, and so
// deletes this node's keys: a key that is deleted alone may come back.
func (c *conn) leave(ctx context.Context) {
	err := c.leaving(ctx, func(ctx context.Context) error {
		_, err := c.kv.Put(ctx, &etcdserverpb.PutRequest{
			Key: []byte(c.seat.memberKey()), Value: encodeMember(c.seat.self, true), Lease: c.seat.lease,
		})
		return err
	})
	if err != nil {
		c.seat.logger.Debug("the others learn late that this node leaves", "after", revival, "err", plain(err))
	}
	err = c.leaving(ctx, func(ctx context.Context) error {
		_, err := c.leases.LeaseRevoke(ctx, &etcdserverpb.LeaseRevokeRequest{ID: c.seat.lease})
		return err
	})
	if err != nil {
		c.seat.logger.Debug("the lease was not revoked; the server keeps it until it expires", "ttl", c.ttl, "err", plain(err))
	}
}

// leaving sends one of the last requests, once more if the token has expired.
func (c *conn) leaving(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	err := request(ctx)
	if err != nil && c.seat.params.Username != "" && needsLogin(err) && c.login(ctx) == nil {
		err = request(ctx)
	}
	return err
}

// close releases the connection.
func (c *conn) close() {
	c.timer.Stop()
	c.cancel(context.Canceled)
	c.toAll.close()
	c.toOne.close()
	if c.client != nil {
		if err := c.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			c.seat.logger.Debug("closing the connection", "err", err)
		}
	}
}
