package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// examine is the backend's driver.ExamineFunc. It opens no driver, since that
// would make a member. It opens a connection to each endpoint, which holds no
// member's key.
func examine(ctx context.Context, e driver.Examination) {
	p, err := parse(e.Params)
	if err != nil {
		e.Fail("configuration", "decode the parameters", err, doctor.Advice(err, ""))
		return
	}
	p.DialTimeout = e.Timeout
	if len(doctor.Reach(ctx, e, doctor.Resolve(ctx, e, p.Endpoints))) == 0 {
		return
	}
	if p.TLS && !doctor.Secure(ctx, e, p.Endpoints, p.clientTLS, nil) {
		return
	}
	seat := newSeat(e.Options, p)
	memory(e, p.MaxFrame)
	var first *exam
	for _, endpoint := range p.Endpoints {
		x := &exam{Examination: e, ctx: ctx, seat: seat, conn: seat.at(endpoint), first: first}
		stop := context.AfterFunc(ctx, func() { x.conn.cancel(ctx.Err()) })
		defer x.conn.close()
		defer stop()
		if x.run() && first == nil {
			first = x
		}
	}
}

// muchMemory is from where on what frames may take of it should be wanted.
const muchMemory = 1 << 30

// memory reckons how much memory frames may take at each server.
func memory(e driver.Examination, largest params.Bytes) {
	const name, tried = "memory", "reckon what etcd may keep of frames in memory"
	most := 2 * leastKept * largest
	got := fmt.Sprintf("at most %v: %d writes of %v, each twice", most, leastKept, largest)
	if most > muchMemory {
		e.Warn(name, tried, got, "lower max_frame, or --snapshot-catchup-entries of the servers")
		return
	}
	e.OK(name, tried, got)
}

// clientTLS returns the TLS configuration for an endpoint on host.
func (p *Params) clientTLS(host string) (*tls.Config, error) {
	c, err := p.TLSConfigFor(host, p.TLSMinVersion)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	c.NextProtos = []string{"h2"} // gRPC's
	return c, nil
}

// exam is the examination of one endpoint.
type exam struct {
	driver.Examination
	ctx      context.Context
	seat     *seat
	conn     *conn
	revision int64
	first    *exam // of the first endpoint that can be used, where this is another
}

// run reports whether the endpoint can be used.
func (x *exam) run() bool {
	if !x.readMembers() || !x.rights() {
		return false
	}
	x.quota()
	x.compaction()
	if len(x.seat.params.Endpoints) == 1 {
		x.alone()
	}
	doctor.Clock(x.ctx, x.Examination, x.conn.endpoint, time.Second, x.now)
	return x.deliver()
}

// limit returns a context for one step.
func (x *exam) limit() (context.Context, context.CancelFunc) {
	return context.WithTimeout(x.ctx, x.Timeout)
}

// readMembers logs in and reads who is a member.
func (x *exam) readMembers() bool {
	c := x.conn
	tried := doctor.LogIn(x.seat.params.Username) + " at " + c.endpoint + " and read the members"
	if err := c.reach(); err != nil {
		if errors.Is(err, errNoAnswer) && x.leaderless() {
			err = fmt.Errorf("%w: it has no leader", err)
		}
		x.failed("auth", tried, err)
		return false
	}
	x.revision = c.roster.revision
	x.OK("auth", tried, fmt.Sprintf("revision %d", x.revision))
	var names []string
	for _, m := range c.roster.all() {
		if m.Instance != x.Self.Instance {
			names = append(names, m.Name)
		}
	}
	doctor.Members(x.Examination, "read the members' keys at "+c.endpoint, names)
	return true
}

// leaderless reports whether the server says that it has no leader, without which it
// lets all else wait.
func (x *exam) leaderless() bool {
	ctx, cancel := x.limit()
	defer cancel()
	c := x.seat.at(x.conn.endpoint)
	defer c.close()
	if c.connect() != nil {
		return false
	}
	s, err := c.client.Status(ctx, c.endpoint)
	return err == nil && s.Leader == 0
}

// rights finds out whether a node could put its keys, without putting any, and
// watch those of others.
func (x *exam) rights() bool {
	const name = "rights"
	defer x.conn.timer.Stop()
	for _, key := range x.seat.ownKeys() {
		tried := "ask for the right to write " + key
		switch err := lacking("write", key, x.conn.mayPut(nil, key)); {
		case err == nil:
			x.OK(name, tried, "granted")
		case errors.Is(err, rpctypes.ErrNoSpace): // which the next step tells
			x.Skip(name, tried, plain(err).Error(), fix(err))
		default:
			x.failed(name, tried, err)
			return false
		}
	}
	tried := "watch " + x.seat.keys.root
	if err := x.conn.startWatch(); err != nil {
		x.failed(name, tried, err)
		return false
	}
	x.OK(name, tried, "granted")
	return true
}

// quota compares the size of the store with its limit, and looks for the alarm.
func (x *exam) quota() {
	ctx, cancel := x.limit()
	defer cancel()
	tried := "ask " + x.conn.endpoint + " for its status"
	s, err := x.conn.client.Status(ctx, x.conn.endpoint)
	if err != nil {
		x.Skip("quota", tried, plain(err).Error(), "this is no fault: this user lacks the right to ask; see \"etcdctl endpoint status\" and \"etcdctl alarm list\"")
		return
	}
	got := fmt.Sprintf("version %s, %v stored of %v", s.Version, params.Bytes(s.DbSize), params.Bytes(s.DbSizeQuota))
	switch alarms := strings.Join(s.Errors, "; "); {
	case strings.Contains(alarms, "NOSPACE"):
		x.Fail("quota", tried, fmt.Errorf("%s; alarm: %s", got, alarms), "make room: "+makeRoom)
	case alarms != "":
		x.Fail("quota", tried, fmt.Errorf("%s; %s", got, alarms), "see \"etcdctl alarm list\" and the log of the server")
	case s.DbSizeQuota > 0 && s.DbSize > s.DbSizeQuota*8/10:
		x.Warn("quota", tried, got, "it is nearly full; make room: "+makeRoom)
	default:
		x.OK("quota", tried, got)
	}
	if free := s.DbSize - s.DbSizeInUse; s.DbSizeInUse > 0 && s.DbSizeQuota > 0 && free > s.DbSizeQuota/4 {
		x.Warn("fragmentation", tried, fmt.Sprintf("%v of what is stored is free", params.Bytes(free)), "give it back, one member after the other, each of which stands still meanwhile: etcdctl defrag")
	}
}

// alone says that a node with one endpoint is lost with it, where the etcd cluster
// has others.
func (x *exam) alone() {
	ctx, cancel := x.limit()
	defer cancel()
	const name, tried = "endpoints", "count the members of the etcd cluster"
	switch r, err := x.conn.client.MemberList(ctx); {
	case err != nil:
		x.Skip(name, tried, plain(err).Error(), "this is no fault: see \"etcdctl member list\"")
	case len(r.Members) > 1:
		x.Warn(name, tried, fmt.Sprintf("%d, and one endpoint", len(r.Members)), "list others as endpoints: a node is cut off while the only one that it knows is lost")
	default:
		x.OK(name, tried, "one, which is the endpoint")
	}
}

// now asks for the time in the head of an answer by HTTP, in whole seconds: the API
// has none.
func (x *exam) now(ctx context.Context) (time.Time, error) {
	url, transport := "http://"+x.conn.endpoint+"/version", &http.Transport{DisableKeepAlives: true}
	if x.seat.params.TLS {
		host, _, err := net.SplitHostPort(x.conn.endpoint)
		if err != nil {
			return time.Time{}, err
		}
		if transport.TLSClientConfig, err = x.seat.params.clientTLS(host); err != nil {
			return time.Time{}, err
		}
		transport.TLSClientConfig.NextProtos = nil
		url = "https" + strings.TrimPrefix(url, "http")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return time.Time{}, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return time.Time{}, err
	}
	_ = response.Body.Close() // its head says all
	return http.ParseTime(response.Header.Get("Date"))
}

// manyRevisions is how long a history may be before it should be compacted.
const manyRevisions = 100_000

// compaction finds out whether anybody compacts: the first revision can be read
// only if nobody ever did.
func (x *exam) compaction() {
	ctx, cancel := x.limit()
	defer cancel()
	const name, tried = "compaction", "read at revision 1"
	_, err := x.conn.client.Get(ctx, x.seat.keys.members, clientv3.WithPrefix(), clientv3.WithRev(1))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		x.OK(name, tried, "it was compacted away, as it should be")
	case err != nil:
		x.Skip(name, tried, plain(err).Error(), "set --auto-compaction-retention at the server")
	case x.revision > manyRevisions:
		x.Warn(name, tried, fmt.Sprintf("it is still there, and %d more: nobody compacts", x.revision-1), "set --auto-compaction-retention, or the store fills up")
	default:
		x.OK(name, tried, fmt.Sprintf("it is still there, and %d more", x.revision-1))
	}
}

// deliver puts a frame under a lease, and waits for a watch to show it.
func (x *exam) deliver() bool {
	if !x.lease() {
		return false
	}
	defer x.conn.leave(context.WithoutCancel(x.ctx))
	ctx, cancel := x.limit()
	defer cancel()
	const name, tried = "delivery", "put a frame with a nonce and watch for it"
	frame, key := doctor.Probe(x.Examination), x.seat.frameKey()
	watch := x.conn.client.Watch(clientv3.WithRequireLeader(ctx), key, clientv3.WithRev(x.revision+1))
	began := time.Now()
	if err := x.conn.put(ctx, key, x.seat.lease, frame); err != nil {
		x.failed(name, tried, err)
		return false
	}
	for r := range watch {
		for _, event := range r.Events {
			if string(event.Kv.Value) == string(frame) {
				x.OK(name, tried, doctor.Heard(began))
				x.compare(ctx, key)
				return true
			}
		}
		if err := r.Err(); err != nil {
			x.failed(name, tried, err)
			return false
		}
	}
	x.Fail(name, tried, errors.New("it was put, and no watch shows it"), "see whether the server has a leader: etcdctl endpoint status")
	return false
}

// compare looks for the frame at the first endpoint: each may be sound, and not of
// one cluster. Their numbers do not tell, as they are equal by default.
func (x *exam) compare(ctx context.Context, key string) {
	if x.first == nil {
		return
	}
	name, tried := "cluster", "read at "+x.first.conn.endpoint+" what was put at "+x.conn.endpoint
	switch r, err := x.first.conn.client.Get(ctx, key); {
	case err != nil:
		x.failed(name, tried, err)
	case len(r.Kvs) == 0:
		x.Fail(name, tried, errors.New("it is not there: they are servers of two etcd clusters"),
			"list the members of one etcd cluster as endpoints, see \"etcdctl member list\": nodes at different ones do not find each other")
	default:
		x.OK(name, tried, "it is there")
	}
}

// lease asks for the lease that a node would use.
func (x *exam) lease() bool {
	const name = "lease"
	wanted := x.seat.params.LeaseTTL
	tried := fmt.Sprintf("ask for a lease of %v", wanted)
	if err := x.conn.hold(); err != nil {
		x.failed(name, tried, err)
		return false
	}
	granted := x.conn.ttl
	if granted > wanted {
		x.Warn(name, tried, fmt.Sprintf("the server grants %v", granted), "a crash is seen that much later: the server's minimum is one and a half times its election timeout")
	} else {
		x.OK(name, tried, granted.String())
	}
	return true
}

// failed reports an error in the driver's words.
func (x *exam) failed(name, tried string, err error) {
	if !errors.Is(err, driver.ErrConfig) && !errors.Is(err, driver.ErrUnavailable) {
		err = x.seat.params.explain(x.conn.endpoint, err)
	}
	x.Fail(name, tried, err, doctor.Advice(err, fix(err)))
}

// fix says what to do about an error that is not about the configuration.
func fix(err error) string {
	_, network := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return "make room: " + makeRoom
	case strings.Contains(err.Error(), "learner"):
		return "it is a learner, which serves no clients: \"etcdctl member promote\" makes it a member, or take it off the list"
	case strings.Contains(err.Error(), "no leader"):
		return "the etcd cluster has lost its majority: bring its members back"
	case network, errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNoAnswer), strings.Contains(err.Error(), "deadline exceeded"):
		return "what listens there is no etcd, or wants TLS, or has no leader"
	}
	return "see the log of the server at this minute"
}
