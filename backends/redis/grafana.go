package redis

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// The names that Grafana's peers use, after the prefix. Each state has a
// channel besides.
const (
	fullStateChannel = "full_state"
	requestChannel   = "full_state:request"
)

// ownChannel carries what only own nodes understand. Grafana's peers do not
// subscribe to it.
const ownChannel = "clusterchannel"

// ownSeparator stands between name and instance in an own node's key. It sorts
// below every character of a name, so that keys sort by name, then instance.
const ownSeparator = "+"

// GrafanaTiming are the periods on Grafana's wire. Zero means the default; the
// defaults for the key are Grafana's own. All nodes of a cluster have the same.
type GrafanaTiming struct {
	Heartbeat time.Duration // between writes of the own key, and between scans: 5s
	Expiry    time.Duration // how long a peer's key counts: 1m
	TTL       time.Duration // of the own key: 5m
	FullState time.Duration // between full states, while there are Grafana peers: 1m
	Beat      time.Duration // between beats of own nodes: 500ms
}

func (t GrafanaTiming) orDefaults() GrafanaTiming {
	return GrafanaTiming{
		Heartbeat: cmp.Or(t.Heartbeat, 5*time.Second),
		Expiry:    cmp.Or(t.Expiry, time.Minute),
		TTL:       cmp.Or(t.TTL, 5*time.Minute),
		FullState: cmp.Or(t.FullState, time.Minute),
		Beat:      cmp.Or(t.Beat, 500*time.Millisecond),
	}
}

// grafanaConn is the driver that speaks the protocol of Grafana's peers.
//
// Each node keeps a key, and finds Grafana's peers by their keys, as they do.
// Own nodes find each other by beats on a channel that only they know, which is
// quicker, says more and compares no clocks. The driver subscribes to one
// pattern, since it does not know which states the service will add.
type grafanaConn struct {
	client  *client
	cluster string
	self    driver.Member
	logger  *slog.Logger
	timing  GrafanaTiming
	key     string // of this node, without the prefix
	roster  *roster
	pace    *pace
	look    chan struct{} // the keys may have changed
	wanted  chan struct{} // Grafana's peers lack something that this node has

	handler   driver.Handler // set by Serve
	lastWord  []byte         // the full state as Serve ended, for Grafana's peers
	returning bool           // the own key existed: this instance was open before
	lost      atomic.Bool    // the link, so nothing is said on leaving
}

// newGrafana returns the driver, which has said nothing yet. credentials may be
// nil.
func newGrafana(ctx context.Context, o driver.Options, p Params, credentials Credentials, t GrafanaTiming) *grafanaConn {
	g := &grafanaConn{
		client: newClient(p, credentials, o.Logger), self: o.Self, logger: o.Logger, timing: t,
		cluster: o.Cluster, key: ownKey(o.Self), pace: newPace(), look: event(), wanted: event(),
	}
	g.client.sub = g.client.redis.PSubscribe(ctx)
	g.roster = newRoster(o, t, g.pace)
	return g
}

// openGrafana starts the driver.
func openGrafana(ctx context.Context, o driver.Options, p Params, credentials Credentials, t GrafanaTiming) (driver.Driver, error) {
	g := newGrafana(ctx, o, p, credentials, t)
	if err := g.preflight(ctx); err != nil {
		g.client.close()
		return nil, err
	}
	return g, nil
}

// Serve implements [driver.Driver].
func (g *grafanaConn) Serve(ctx context.Context, h driver.Handler) error {
	loops, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = g.client.sub.Close() })() // go-redis cannot otherwise be interrupted
	g.handler = h
	loops.Go(func() error { return g.client.receive(ctx, g.dispatch) })
	loops.Go(func() error { return g.client.watchRole(ctx) })
	for _, loop := range []func(context.Context) error{g.attach, g.sendBeats, g.keepKey, g.share, g.watchEcho} {
		loops.Go(func() error { return loop(ctx) })
	}
	err := loops.Wait()
	g.lost.Store(err != nil)
	if err == nil && g.roster.hasPeers() {
		g.lastWord = g.fullState()
	}
	return err
}

// do runs one or more commands, as [client.command] does.
func (g *grafanaConn) do(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return g.client.command(ctx, func() error { return f(ctx) })
}

// publishOn publishes message on a channel, the prefix left out.
func (g *grafanaConn) publishOn(ctx context.Context, channel string, message []byte) error {
	return g.do(ctx, func(ctx context.Context) error { return g.client.redis.Publish(ctx, g.prefix()+channel, message).Err() })
}

func (g *grafanaConn) prefix() string { return g.client.params.Prefix }

func ownKey(m driver.Member) string { return m.Name + ownSeparator + m.Instance }

// isOwnKey reports whether a key, without the prefix, is that of an own node:
// of this cluster, or of one whose prefix begins with this one's.
func isOwnKey(key string) bool {
	const instance, alphabet = 13, "abcdefghijklmnopqrstuvwxyz234567"
	i := strings.LastIndex(key, ownSeparator)
	return i > 0 && len(key)-i-1 == instance && strings.Trim(key[i+1:], alphabet) == ""
}

// preflight checks that everything needed is there and allowed.
func (g *grafanaConn) preflight(ctx context.Context) error {
	pattern := g.prefix() + "*"
	if err := g.client.sub.PSubscribe(ctx, pattern); err != nil {
		return g.explain("PSUBSCRIBE "+pattern, g.client.diagnose(ctx, err, g.prefix()+ownChannel))
	}
	if _, err := g.client.sub.ReceiveTimeout(ctx, timeout); err != nil { // its answer comes first
		return g.explain("PSUBSCRIBE "+pattern, g.client.diagnose(ctx, err, g.prefix()+ownChannel))
	}
	if err := g.client.checkRole(ctx); err != nil {
		return err
	}
	var err error
	if g.returning, err = g.setKey(ctx); err != nil && !refusesWrites(err) {
		return g.explain("SET "+g.prefix()+g.key, err)
	}
	hello := g.beat()
	hello.Hello = true
	if err := g.publishOn(ctx, ownChannel, hello.encode()); err != nil {
		return g.explain("PUBLISH "+g.prefix()+ownChannel, err)
	}
	keys, err := g.scan(ctx)
	if err != nil {
		return g.explain("SCAN "+pattern, err)
	}
	g.roster.scanned(keys, time.Now())
	return nil
}

// refusesWrites reports whether the server refuses writes now, because it has
// no memory left or cannot save. It still forwards what is published.
func refusesWrites(err error) bool {
	return strings.HasPrefix(err.Error(), "OOM ") || strings.HasPrefix(err.Error(), "MISCONF ")
}

func (g *grafanaConn) explain(what string, err error) error {
	if strings.Contains(err.Error(), "NOPERM") {
		return params.Bad("username", "%s: %w; allow it: ACL SETUSER … resetkeys ~%s* resetchannels &%[3]s* +psubscribe +publish +set +del +scan +mget", what, err, g.prefix())
	}
	return g.client.params.explain(what, err)
}

// Caps implements [driver.Driver].
func (g *grafanaConn) Caps() driver.Caps {
	return driver.Caps{MaxFrame: maxFrame, Linger: linger, Membership: true, Exchange: true, Updates: g.updates}
}

// leaveTimeout bounds the goodbye.
const leaveTimeout = 2 * time.Second

// Close implements [driver.Driver]. A node whose link is lost says nothing: it
// may come back.
func (g *grafanaConn) Close(ctx context.Context) error {
	if !g.lost.Load() {
		leaving, cancel := context.WithTimeout(ctx, leaveTimeout)
		defer cancel()
		g.goodbye(leaving)
	}
	g.client.close()
	return nil
}

// goodbye leaves as Grafana's peers do: it publishes the full state, then
// deletes the key. It also tells own nodes.
func (g *grafanaConn) goodbye(ctx context.Context) {
	g.publishState(ctx, g.lastWord)
	bye := g.beat()
	bye.Bye = true
	err := g.do(ctx, func(ctx context.Context) error {
		_, err := g.client.redis.Pipelined(ctx, func(p goredis.Pipeliner) error {
			p.Del(ctx, g.prefix()+g.key)
			p.Publish(ctx, g.prefix()+ownChannel, bye.encode())
			return nil
		})
		return err
	})
	if err != nil {
		g.logger.Debug("the goodbye may have reached nobody", "err", err)
	}
}

func event() chan struct{} { return make(chan struct{}, 1) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

var _ driver.Driver = (*grafanaConn)(nil)
