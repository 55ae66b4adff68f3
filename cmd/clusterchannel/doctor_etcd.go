package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backends/etcd"
)

// examineEtcd goes from the endpoint to a frame that is heard. The driver is not
// opened, for that would make a member.
func (d *doctor) examineEtcd(ctx context.Context, config backend.Config) {
	var p etcd.Params
	if err := params.Decode(config.Params, &p); err != nil {
		d.fail("configuration", "decode the parameters", err, "correct the key that is named")
		return
	}
	var endpoints []string
	for _, e := range p.Endpoints {
		if _, rest, ok := strings.Cut(e, "://"); ok {
			e = rest
		}
		endpoints = append(endpoints, strings.TrimSuffix(e, "/"))
	}
	endpoints = withPort(endpoints, "2379")
	if len(d.reach(ctx, d.resolve(ctx, endpoints))) == 0 {
		return
	}
	withALPN := func(host string) (*tls.Config, error) {
		t, err := brokerTLS(p.Params, p.TLSMinVersion)(host)
		if err == nil {
			t.NextProtos = []string{"h2"}
		}
		return t, err
	}
	if p.TLS && !d.secure(ctx, endpoints, withALPN, nil) {
		return
	}
	for _, endpoint := range endpoints {
		e := &etcdEndpoint{doctor: d, params: p, addr: endpoint, instance: "doctor-" + nonce()}
		e.root = strings.TrimRight(p.Prefix, "/") + "/" + url.PathEscape(config.Cluster) + "/"
		e.examine(ctx, config.Cluster, withALPN)
	}
}

// etcdEndpoint is one server under examination.
type etcdEndpoint struct {
	*doctor
	params   etcd.Params
	addr     string
	root     string // of the cluster's keys, as package etcd documents them
	instance string
	client   *clientv3.Client
	revision int64
}

func (e *etcdEndpoint) examine(ctx context.Context, cluster string, config func(string) (*tls.Config, error)) {
	c := clientv3.Config{
		Endpoints: []string{e.addr}, DialTimeout: e.timeout, Logger: zap.NewNop(), MaxUnaryRetries: 1,
		Username: e.params.Username, Password: e.params.Password, Context: ctx,
	}
	if e.params.TLS {
		host, _, _ := net.SplitHostPort(e.addr) // it was dialled before
		t, err := config(host)
		if err != nil {
			return // a handshake has succeeded with it
		}
		c.TLS = t
		if e.params.TLSServerName != "" {
			c.DialOptions = []grpc.DialOption{grpc.WithAuthority(e.params.TLSServerName)}
		}
	}
	var err error
	if e.client, err = clientv3.New(c); err != nil {
		e.fail("auth", "log in at "+e.addr+asUser(e.params.Username), err, mendEtcd(err, e.params))
		return
	}
	defer e.client.Close() //nolint:errcheck // it has answered
	if e.readMembers(ctx) {
		e.quota(ctx)
		e.compaction(ctx)
		e.deliver(ctx, cluster)
	}
}

// readMembers logs in and reads who is a member.
func (e *etcdEndpoint) readMembers(ctx context.Context) bool {
	ctx, cancel := e.limit(ctx)
	defer cancel()
	tried := "log in at " + e.addr + asUser(e.params.Username) + " and read the members"
	r, err := e.client.Get(ctx, e.root+"members/", clientv3.WithPrefix())
	if err != nil {
		e.fail("auth", tried, err, mendEtcd(err, e.params))
		return false
	}
	e.revision = r.Header.Revision
	e.ok("auth", tried, fmt.Sprintf("revision %d", r.Header.Revision))
	var names []string
	for _, kv := range r.Kvs {
		var m struct{ Name string }
		if json.Unmarshal(kv.Value, &m) == nil && m.Name != "" && kv.Lease != 0 {
			names = append(names, m.Name)
		}
	}
	e.members("read the members' keys at "+e.addr, names)
	return true
}

// quota compares the size of the store with its limit, and looks for the alarm.
func (e *etcdEndpoint) quota(ctx context.Context) {
	ctx, cancel := e.limit(ctx)
	defer cancel()
	tried := "ask " + e.addr + " for its status"
	s, err := e.client.Status(ctx, e.addr)
	if err != nil {
		e.skip("quota", tried, err.Error(), "that is no fault: this user may not ask; see \"etcdctl endpoint status\" and \"etcdctl alarm list\"")
		return
	}
	got := fmt.Sprintf("version %s, %v stored of %v", s.Version, params.Bytes(s.DbSize), params.Bytes(s.DbSizeQuota))
	switch alarms := strings.Join(s.Errors, "; "); {
	case strings.Contains(alarms, "NOSPACE"):
		e.fail("quota", tried, fmt.Errorf("%s; alarm: %s", got, alarms), makeRoom)
	case alarms != "":
		e.fail("quota", tried, fmt.Errorf("%s; %s", got, alarms), "see \"etcdctl alarm list\" and the log of the server")
	case s.DbSizeQuota > 0 && s.DbSize > s.DbSizeQuota*8/10:
		e.warn("quota", tried, got, "it is nearly full; "+makeRoom)
	default:
		e.ok("quota", tried, got)
	}
}

const makeRoom = "make room: etcdctl compact, etcdctl defrag, etcdctl alarm disarm; keep it by --auto-compaction-retention"

// manyRevisions is how long a history may be before somebody should compact it.
const manyRevisions = 100_000

// compaction finds out whether anybody compacts: the first revision can be read
// where nobody ever did.
func (e *etcdEndpoint) compaction(ctx context.Context) {
	ctx, cancel := e.limit(ctx)
	defer cancel()
	tried := "read at revision 1"
	_, err := e.client.Get(ctx, e.root+"members/", clientv3.WithPrefix(), clientv3.WithRev(1))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		e.ok("compaction", tried, "it was compacted away, as it should be")
	case err != nil:
		e.skip("compaction", tried, err.Error(), "set --auto-compaction-retention at the server")
	case e.revision > manyRevisions:
		e.warn("compaction", tried, fmt.Sprintf("it is still there, and %d more: nobody compacts", e.revision-1), "set --auto-compaction-retention, or the store fills up")
	default:
		e.ok("compaction", tried, fmt.Sprintf("it is still there, and %d more", e.revision-1))
	}
}

// deliver puts a frame under a lease, and waits for a watch to tell it.
func (e *etcdEndpoint) deliver(ctx context.Context, cluster string) {
	ctx, cancel := e.limit(ctx)
	defer cancel()
	ttl := int64(e.params.LeaseTTL / time.Second)
	tried := fmt.Sprintf("ask for a lease of %v", e.params.LeaseTTL)
	lease, err := e.client.Grant(ctx, ttl)
	if err != nil {
		e.fail("lease", tried, err, mendEtcd(err, e.params))
		return
	}
	defer e.revoke(lease.ID)
	if lease.TTL > ttl {
		e.warn("lease", tried, fmt.Sprintf("the server grants %ds", lease.TTL), "a crash is seen that much later: the server's minimum is one and a half times its election timeout")
	} else {
		e.ok("lease", tried, fmt.Sprintf("%ds", lease.TTL))
	}
	tried = "put a frame with a nonce and watch for it"
	frame, _ := probe(cluster, e.instance)
	key := e.root + "frames/" + e.instance
	watch := e.client.Watch(clientv3.WithRequireLeader(ctx), key, clientv3.WithRev(e.revision+1))
	began := time.Now()
	if _, err := e.client.Put(ctx, key, string(frame), clientv3.WithLease(lease.ID)); err != nil {
		e.fail("delivery", tried, err, mendEtcd(err, e.params))
		return
	}
	for r := range watch {
		for _, event := range r.Events {
			if string(event.Kv.Value) == string(frame) {
				e.ok("delivery", tried, fmt.Sprintf("heard after %v", time.Since(began).Round(10*time.Microsecond)))
				return
			}
		}
		if err := r.Err(); err != nil {
			e.fail("delivery", tried, err, mendEtcd(err, e.params))
			return
		}
	}
	e.fail("delivery", tried, errors.New("it was put, and no watch tells it"), "see whether the server has a leader: etcdctl endpoint status")
}

// revoke takes the lease away, and the frame with it.
func (e *etcdEndpoint) revoke(id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), e.timeout)
	defer cancel()
	_, _ = e.client.Revoke(ctx, id) // it expires by itself otherwise
}

// mendEtcd says what an answer asks for.
func mendEtcd(err error, p etcd.Params) string {
	err = rpctypes.Error(err)
	text := err.Error()
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return makeRoom
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return "correct username and password: the server refuses them"
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return "give username and password: the server asks for a user"
	case containsAny(text, "authentication is not enabled"):
		return "leave out username and password: the server has no authentication"
	case containsAny(text, "permission denied"):
		return "etcdctl role grant-permission ROLE readwrite --prefix " + p.Prefix + "/"
	case containsAny(text, "x509"):
		return "mind tls_ca_file and tls_server_name"
	case containsAny(text, "no leader"):
		return "the etcd cluster has lost its majority: bring its members back"
	case errors.Is(err, context.DeadlineExceeded), containsAny(text, "deadline exceeded", "preface", "frame too large", "HTTP"):
		return "what listens there is no etcd, or wants TLS, or has no leader"
	}
	return "see the log of the server at this minute"
}
