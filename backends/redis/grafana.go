package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// The names that Grafana's peers use, after the prefix: a channel for each state
// besides these two.
const (
	fullStateChannel = "full_state"
	requestChannel   = "full_state:request"
)

// ownChannel is for what only nodes of ours understand. Grafana's peers do not
// subscribe to it.
const ownChannel = "clusterchannel"

// ownSeparator stands between name and instance in the key of a node of ours. It
// sorts below every character of a name, so that keys sort by name, then
// instance.
const ownSeparator = "+"

// grafanaTiming are the periods. Those of the keys are Grafana's.
type grafanaTiming struct {
	heartbeat time.Duration // between writes of the own key, and between scans
	expiry    time.Duration // for which a peer's key counts
	ttl       time.Duration // of the own key
	fullState time.Duration // between full states, while there are peers of Grafana
	beat      time.Duration // between signs of life among our own nodes
}

var grafanaDefaults = grafanaTiming{
	heartbeat: 5 * time.Second, expiry: time.Minute, ttl: 5 * time.Minute, fullState: time.Minute, beat: 500 * time.Millisecond,
}

// grafana is the driver that speaks the protocol of Grafana's peers.
//
// Each node keeps a key, and finds Grafana's peers by their keys, as they do.
// Nodes of ours find each other by beats on a channel that only they know, which
// is quicker, says more and compares no clocks. One pattern is subscribed to, for
// the states that a service will add are not known here.
type grafana struct {
	*node    // the client, the subscription, and what runs their commands
	options  driver.Options
	timing   grafanaTiming
	enc      *wire.Encoder
	key      string // of this node, without the prefix
	roster   *roster
	pace     pace
	beatNow  chan struct{} // a node asks who is there
	look     chan struct{} // the keys may have changed
	orphans  chan struct{} // the roster has keys to delete
	newcomer chan struct{} // a peer of Grafana is there that was not
	wanted   chan struct{} // Grafana's peers lack what this node has

	returning bool // the own key was there: this instance was open before

	work  context.Context // ends when Close begins
	stop  context.CancelFunc
	loops sync.WaitGroup // of what sends by itself
	lost  atomic.Bool

	closing sync.Once
	closed  chan struct{}
}

// newGrafana returns the driver, which runs nothing yet.
func newGrafana(ctx context.Context, o driver.Options, p Params, credentials func(context.Context) (string, string, error), h driver.Handler, t grafanaTiming) *grafana {
	n := &node{params: p, h: h, instance: o.Self.Instance, logger: o.Logger, detach: library.attach(o.Logger), lane: make(chan struct{}, 1)}
	n.life, n.end = context.WithCancel(context.Background())
	n.client = newClient(n.life, p, credentials)
	n.sub = n.client.PSubscribe(ctx)
	event := func() chan struct{} { return make(chan struct{}, 1) }
	g := &grafana{
		node: n, options: o, timing: t, enc: wire.NewEncoder(o.Cluster, o.Self.Instance), key: ownKey(o.Self),
		beatNow: event(), look: event(), orphans: event(), newcomer: event(), wanted: event(), closed: make(chan struct{}),
	}
	g.work, g.stop = context.WithCancel(n.life)
	g.pace.heard = make(chan struct{})
	g.roster = newRoster(g)
	return g
}

// openGrafana starts the driver. credentials may be nil, as in [Opener].
func openGrafana(ctx context.Context, o driver.Options, p Params, credentials func(context.Context) (string, string, error), h driver.Handler, t grafanaTiming) (driver.Driver, error) {
	g := newGrafana(ctx, o, p, credentials, h, t)
	if err := g.preflight(ctx); err != nil {
		g.lost.Store(true)
		_ = g.Close(ctx) // the error that counts is the preflight's
		return nil, err
	}
	g.wg.Go(g.receive)
	for _, loop := range []func(){g.attach, g.sendBeats, g.keepKey, g.share, g.watchEcho, g.watchRole} {
		g.loops.Go(loop)
	}
	return g, nil
}

// do runs one or more commands, as [node.command] does.
func (g *grafana) do(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return g.command(ctx, func() error { return f(ctx) })
}

// publishOn publishes message on a channel, the prefix left out.
func (g *grafana) publishOn(ctx context.Context, channel string, message []byte) error {
	return g.do(ctx, func(ctx context.Context) error { return g.client.Publish(ctx, g.params.Prefix+channel, message).Err() })
}

func ownKey(m driver.Member) string { return m.Name + ownSeparator + m.Instance }

// isOwnKey tells whether a key, the prefix cut off, is that of a node of ours:
// of this cluster, or of one whose prefix begins with this one's.
func isOwnKey(key string) bool {
	const instance, alphabet = 13, "abcdefghijklmnopqrstuvwxyz234567"
	i := strings.LastIndex(key, ownSeparator)
	return i > 0 && len(key)-i-1 == instance && strings.Trim(key[i+1:], alphabet) == ""
}

// preflight shows that all that is needed is there and allowed.
func (g *grafana) preflight(ctx context.Context) error {
	pattern := g.params.Prefix + "*"
	if err := g.sub.PSubscribe(ctx, pattern); err != nil {
		return g.explain("PSUBSCRIBE "+pattern, g.diagnose(ctx, err))
	}
	if _, err := g.sub.ReceiveTimeout(ctx, timeout); err != nil { // its answer comes first
		return g.explain("PSUBSCRIBE "+pattern, g.diagnose(ctx, err))
	}
	if err := g.checkRole(ctx); err != nil {
		return err
	}
	var err error
	if g.returning, err = g.setKey(ctx); err != nil && !refusesWrites(err) {
		return g.explain("SET "+g.params.Prefix+g.key, err)
	}
	if err := g.publishOn(ctx, ownChannel, g.beatMessage(true, 0)); err != nil {
		return g.explain("PUBLISH "+g.params.Prefix+ownChannel, err)
	}
	keys, err := g.scan(ctx)
	if err != nil {
		return g.explain("SCAN "+pattern, err)
	}
	g.roster.scanned(keys, time.Now())
	return nil
}

// refusesWrites tells whether the server takes no write for now, since it has no
// room or cannot save. What is published passes nevertheless.
func refusesWrites(err error) bool {
	return strings.HasPrefix(err.Error(), "OOM ") || strings.HasPrefix(err.Error(), "MISCONF ")
}

func (g *grafana) explain(what string, err error) error {
	if strings.Contains(err.Error(), "NOPERM") {
		return bad("username", "%s: %w; allow it: ACL SETUSER … resetkeys ~%s* resetchannels &%[3]s* +psubscribe +publish +set +del +scan +mget", what, err, g.params.Prefix)
	}
	return g.params.explain(what, err)
}

// Caps implements [driver.Driver]. Larger frames are split here: Grafana's peers
// take an update as one piece.
func (g *grafana) Caps() driver.Caps { return driver.Caps{Membership: true, Exchange: true} }

// lose reports that the link is lost for good: another driver is wanted.
func (g *grafana) lose(err error) {
	if g.work.Err() == nil && g.lost.CompareAndSwap(false, true) {
		g.h.Link(fmt.Errorf("redis: %w: %w", driver.ErrUnavailable, err))
	}
}

// leaveTimeout bounds what is said on leaving.
const leaveTimeout = 2 * time.Second

// Close implements [driver.Driver]. A node whose link is lost says nothing: it
// may come back.
func (g *grafana) Close(ctx context.Context) (err error) {
	g.closing.Do(func() {
		defer close(g.closed)
		g.stop()
		quiet := make(chan struct{}) // a beat that comes late would bring the node back
		go func() { g.loops.Wait(); close(quiet) }()
		if !g.lost.Load() {
			leaving, cancel := context.WithTimeout(ctx, leaveTimeout)
			defer cancel()
			select {
			case <-quiet:
				g.goodbye(leaving)
			case <-leaving.Done():
			}
		}
		if err = g.node.Close(ctx); errors.Is(err, net.ErrClosed) {
			err = nil // the connections end by themselves
		}
		<-quiet
	})
	<-g.closed
	return err
}

// goodbye leaves as Grafana's peers do: the full state, then the key. Nodes of
// ours are told.
func (g *grafana) goodbye(ctx context.Context) {
	if g.roster.hasPeers() {
		g.publishState(ctx)
	}
	err := g.do(ctx, func(ctx context.Context) error {
		_, err := g.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
			p.Del(ctx, g.params.Prefix+g.key)
			p.Publish(ctx, g.params.Prefix+ownChannel, g.byeMessage())
			return nil
		})
		return err
	})
	if err != nil {
		g.options.Logger.Debug("the news of leaving may have reached nobody", "err", err)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

var _ driver.Driver = (*grafana)(nil)
