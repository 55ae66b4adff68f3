package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// session is one connection to one endpoint, with a lease that is kept alive and
// a watch. What fails in any of them ends it: the client's own retrying would
// hide a loss. Calls fail at once where there is no connection.
type session struct {
	node     *node
	index    int // of the endpoint
	endpoint string
	timer    *time.Timer // ends the opening
	client   *clientv3.Client
	auth     etcdserverpb.AuthClient
	kv       etcdserverpb.KVClient
	leases   etcdserverpb.LeaseClient

	ctx    context.Context // ends with the session, by its cause
	cancel context.CancelCauseFunc
	alive  atomic.Pointer[renewals]
	watch  atomic.Pointer[stream]
	seats  *etcdserverpb.RangeResponse // the members, as read
	lease  int64
	ttl    time.Duration // of the lease, as granted

	renewed atomic.Int64 // when the lease was last renewed, since began
	watched atomic.Int64 // when the watch last spoke, or since when it could
	spoken  atomic.Bool  // that the watch spoke at all
	began   time.Time
}

// renewals is the stream by which the lease is renewed.
type renewals struct {
	etcdserverpb.Lease_LeaseKeepAliveClient
}

// A node gives a server up that is silent for three of the five beats that a
// lease has, where there is another endpoint to renew it by; else for four, so
// that it knows before the others do. The watch has longer, for a large event that is under way holds up all that comes after it.
const (
	beatsPerLease = 5
	silentBeats   = 3
	patientBeats  = 4
	maxBeat       = time.Second
	watchSilence  = 4 * time.Second
)

// newSession returns a session that is yet to be opened, which may take as long
// as dial_timeout: reach, and then settle.
func (n *node) newSession(index int) *session {
	s := &session{node: n, index: index, endpoint: n.params.Endpoints[index], began: time.Now()}
	s.ctx, s.cancel = context.WithCancelCause(clientv3.WithRequireLeader(n.ctx))
	limit := n.params.DialTimeout
	s.timer = time.AfterFunc(limit, func() { s.cancel(fmt.Errorf("%w within %v", errNoAnswer, limit)) })
	return s
}

// reach shows that the endpoint can be used and has a quorum behind it: it reads
// the members. It changes nothing.
func (s *session) reach() error {
	return s.steps(s.connect, s.read)
}

// settle makes the node a member: it holds a lease, its key is there, and the
// watch runs.
func (s *session) settle() error {
	defer s.timer.Stop()
	return s.steps(s.hold, s.register, s.startWatch)
}

// steps takes one step after the other. Its error says what it means for a user.
func (s *session) steps(steps ...func() error) error {
	for _, step := range steps {
		err := step()
		if cause := context.Cause(s.ctx); cause != nil {
			err = cause
		}
		if err != nil {
			return s.node.params.explain(s.endpoint, err)
		}
	}
	return nil
}

func (s *session) connect() error {
	p := &s.node.params
	c, err := p.TLSConfig(p.TLSMinVersion) // anew, so that files that were replaced count
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	options := []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}),
		grpc.WithPerRPCCredentials(s.node.tokens.PerRPCCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(int(p.MaxFrame)+2*requestOverhead), grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	}
	if p.TLSServerName != "" { // etcd's client puts the endpoint's host in place of that of the tls.Config
		options = append(options, grpc.WithAuthority(p.TLSServerName))
	}
	s.client, err = clientv3.New(clientv3.Config{
		Endpoints:       []string{s.endpoint},
		TLS:             c,
		Context:         s.ctx,
		Logger:          newZap(s.node.logger),
		MaxUnaryRetries: 1,
		DialOptions:     options,
	})
	if err != nil {
		return bad("endpoints", "%w", err)
	}
	conn := s.client.ActiveConnection()
	s.auth, s.kv, s.leases = etcdserverpb.NewAuthClient(conn), etcdserverpb.NewKVClient(conn), etcdserverpb.NewLeaseClient(conn)
	return nil
}

// loginTimeout is how long a server may take to compare a password, which is
// slow on purpose, and slower when many nodes come at once.
const loginTimeout = 10 * time.Second

// login gets a token. That is a raft write, so the token stays with the node: it
// is good for all sessions and all members, until the server forgets it.
func (s *session) login(ctx context.Context) error {
	if s.timer.Stop() { // it is about endpoints that do not answer
		defer s.timer.Reset(s.node.params.DialTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	p := &s.node.params
	r, err := s.auth.Authenticate(ctx, &etcdserverpb.AuthenticateRequest{Name: p.Username, Password: p.Password})
	if err != nil {
		return err
	}
	s.node.tokens.UpdateAuthToken(r.Token)
	return nil
}

// call calls f, and again after a login where the server wants a token, or
// another one. Its error is etcd's own where the server has answered, and the end
// of the session where that is the reason.
func (s *session) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	err := f(ctx)
	if err != nil && s.node.params.Username != "" && needsLogin(err) {
		if err = s.login(ctx); err == nil {
			err = f(ctx)
		}
	}
	if cause := context.Cause(s.ctx); err != nil && cause != nil {
		return cause
	}
	return rpctypes.Error(err)
}

// hold renews the node's lease, or gets a new one.
func (s *session) hold() error {
	n := s.node
	if err := s.openRenewals(); err != nil {
		return err
	}
	if n.lease != 0 {
		alive := s.alive.Load()
		_ = alive.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: n.lease}) // Recv tells why it failed
		r, err := alive.Recv()
		if err != nil {
			return err
		}
		if r.TTL > 0 {
			s.lease, s.ttl = n.lease, time.Duration(r.TTL)*time.Second
			return nil
		}
	}
	return s.call(s.ctx, func(ctx context.Context) error {
		r, err := s.leases.LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{TTL: int64(n.params.LeaseTTL / time.Second)})
		if err == nil {
			s.lease, s.ttl = r.ID, time.Duration(r.TTL)*time.Second
			n.lease = s.lease
		}
		return err
	})
}

func (s *session) openRenewals() error {
	client, err := s.leases.LeaseKeepAlive(s.ctx)
	if err == nil {
		s.alive.Store(&renewals{client})
	}
	return err
}

// read reads the members.
func (s *session) read() error {
	keys := s.node.keys
	return s.call(s.ctx, func(ctx context.Context) (err error) {
		s.seats, err = s.kv.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte(keys.members), RangeEnd: end(keys.members)})
		return err
	})
}

// register takes in the members that were read, and puts this node's key where
// it was not among them. It writes nothing else, so that a node keeps its seat on
// a server that is out of quota.
func (s *session) register() error {
	n := s.node
	for range n.roster.load(s.seats) {
		n.roster.stranger(n.keys.members)
	}
	s.seats = nil
	if n.roster.registered(s.lease) {
		return nil
	}
	return s.put(s.ctx, n.keys.members+n.self.Instance, n.record)
}

func (s *session) put(ctx context.Context, key string, value []byte) error {
	return s.call(ctx, func(ctx context.Context) error {
		_, err := s.kv.Put(ctx, &etcdserverpb.PutRequest{Key: []byte(key), Value: value, Lease: s.lease})
		return err
	})
}

// serve keeps the lease and receives what the watch tells, until something fails
// or the driver is closed.
func (s *session) serve() error {
	var wg sync.WaitGroup
	for _, part := range []func() error{s.receiveEvents, s.receiveRenewals, s.beat} {
		wg.Go(func() {
			if err := part(); err != nil {
				s.cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(s.ctx)
}

// beat asks for the lease to be renewed and for a sign of life from the watch,
// and ends the session when either is missing for too long: a link may be half
// open, and a watch dead on a connection that works.
func (s *session) beat() error {
	beat := min(s.ttl/beatsPerLease, maxBeat)
	tick := time.NewTicker(beat / 2)
	defer tick.Stop()
	s.mark(&s.renewed)
	s.mark(&s.watched)
	// A stream that takes no more blocks its sender.
	var senders sync.WaitGroup
	defer senders.Wait()
	ask := make(chan struct{}, 1)
	defer close(ask)
	senders.Go(func() {
		for range ask {
			s.ask()
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
		case <-s.ctx.Done():
			return nil
		}
		if err := s.silent(beat); err != nil {
			s.node.h.Probe(s.endpoint, 0, err)
			s.cancel(err)
			return nil
		}
	}
}

// silent tells what has been missing for too long.
func (s *session) silent(beat time.Duration) error {
	beats := time.Duration(patientBeats)
	if len(s.node.params.Endpoints) > 1 {
		beats = silentBeats
	}
	if quiet := s.since(&s.renewed); quiet > beats*beat {
		return fmt.Errorf("the lease was not renewed for %v", quiet.Round(time.Millisecond))
	}
	if quiet := s.since(&s.watched); quiet > watchSilence {
		if !s.spoken.Load() {
			s.node.roster.restart() // the watch may begin too far behind ever to catch up
		}
		return fmt.Errorf("the watch is silent for %v", quiet.Round(time.Millisecond))
	}
	return nil
}

// ask sends what is to be answered. Where it fails, the receivers are told why.
func (s *session) ask() {
	_ = s.alive.Load().Send(&etcdserverpb.LeaseKeepAliveRequest{ID: s.lease})
	_ = s.watch.Load().send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{
		ProgressRequest: &etcdserverpb.WatchProgressRequest{},
	}})
}

func (s *session) mark(at *atomic.Int64) { at.Store(int64(time.Since(s.began))) }

func (s *session) since(at *atomic.Int64) time.Duration {
	return time.Since(s.began) - time.Duration(at.Load())
}

// receiveRenewals takes in that the lease was renewed. A stream has the token
// that it was opened with, so it ends when that expires, and another is opened.
func (s *session) receiveRenewals() error {
	for {
		r, err := s.alive.Load().Recv()
		switch {
		case err != nil && s.node.params.Username != "" && needsLogin(err):
			if err := s.login(s.ctx); err != nil {
				return err
			}
			if err := s.openRenewals(); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case r.TTL <= 0:
			return errLeaseLost
		}
		s.mark(&s.renewed)
	}
}

// leave revokes the lease, and so deletes this node's keys.
func (s *session) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	revoke := func() error {
		_, err := s.leases.LeaseRevoke(ctx, &etcdserverpb.LeaseRevokeRequest{ID: s.lease})
		return err
	}
	err := revoke()
	if err != nil && s.node.params.Username != "" && needsLogin(err) && s.login(ctx) == nil {
		err = revoke()
	}
	if err != nil {
		s.node.logger.Debug("the lease was not revoked; the server keeps it until it expires", "ttl", s.ttl, "err", plain(err))
	}
}

// close releases the connection.
func (s *session) close() {
	s.timer.Stop()
	s.cancel(context.Canceled)
	if w := s.watch.Load(); w != nil {
		w.stop()
	}
	if s.client != nil {
		if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			s.node.logger.Debug("closing the connection", "err", err)
		}
	}
}
