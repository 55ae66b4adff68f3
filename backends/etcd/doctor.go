package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
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
	for _, endpoint := range p.Endpoints {
		x := exam{Examination: e, ctx: ctx, seat: seat, conn: seat.at(endpoint)}
		stop := context.AfterFunc(ctx, func() { x.conn.cancel(ctx.Err()) })
		x.run()
		stop()
		x.conn.close()
	}
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
}

func (x *exam) run() {
	if !x.readMembers() {
		return
	}
	x.quota()
	x.compaction()
	x.deliver()
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
		x.failed("auth", tried, err)
		return false
	}
	c.timer.Stop()
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
func (x *exam) deliver() {
	if !x.lease() {
		return
	}
	defer x.conn.leave(context.WithoutCancel(x.ctx))
	ctx, cancel := x.limit()
	defer cancel()
	const name, tried = "delivery", "put a frame with a nonce and watch for it"
	frame, key := doctor.Probe(x.Examination), x.seat.keys.frames+x.Self.Instance
	watch := x.conn.client.Watch(clientv3.WithRequireLeader(ctx), key, clientv3.WithRev(x.revision+1))
	began := time.Now()
	if err := x.conn.put(ctx, key, frame); err != nil {
		x.failed(name, tried, err)
		return
	}
	for r := range watch {
		for _, event := range r.Events {
			if string(event.Kv.Value) == string(frame) {
				x.OK(name, tried, doctor.Heard(began))
				return
			}
		}
		if err := r.Err(); err != nil {
			x.failed(name, tried, err)
			return
		}
	}
	x.Fail(name, tried, errors.New("it was put, and no watch shows it"), "see whether the server has a leader: etcdctl endpoint status")
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
	case strings.Contains(err.Error(), "no leader"):
		return "the etcd cluster has lost its majority: bring its members back"
	case network, errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNoAnswer), strings.Contains(err.Error(), "deadline exceeded"):
		return "what listens there is no etcd, or wants TLS, or has no leader"
	}
	return "see the log of the server at this minute"
}
