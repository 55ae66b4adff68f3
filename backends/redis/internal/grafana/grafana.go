// Package grafana is the wire of the Redis backend for a cluster together with
// Grafana's peers: a node keeps a key, shares updates and publishes full states
// as they do, and exchanges frames and beats with own nodes on a channel beside.
// The package comment of the backend says what operators need to know of it.
package grafana

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/redis/internal/server"
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

// conn is the driver that speaks the protocol of Grafana's peers.
//
// Each node keeps a key, and finds Grafana's peers by their keys, as they do.
// Own nodes find each other by beats on a channel that only they know, which is
// quicker, says more and compares no clocks. The driver subscribes to one
// pattern, since it does not know which states the service will add.
type conn struct {
	client  *server.Client
	cluster string
	self    driver.Member
	logger  *slog.Logger
	timing  Timing
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

// newConn returns the driver, which has said nothing yet.
func newConn(o driver.Options, config *server.Config, t Timing) *conn {
	t = t.orDefaults()
	g := &conn{
		client: server.New(config, o.Logger), self: o.Self, logger: o.Logger, timing: t,
		cluster: o.Cluster, key: ownKey(o.Self), pace: newPace(), look: event(), wanted: event(),
	}
	g.roster = newRoster(o, t, g.pace)
	return g
}

// Open starts the driver.
func Open(ctx context.Context, o driver.Options, config *server.Config, t Timing) (driver.Driver, error) {
	g := newConn(o, config, t)
	if err := g.client.Open(ctx, g.preflight); err != nil {
		return nil, err
	}
	return g, nil
}

// Serve implements [driver.Driver].
func (g *conn) Serve(ctx context.Context, h driver.Handler) error {
	loops, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = g.client.Sub.Close() })() // go-redis cannot otherwise be interrupted
	g.handler = h
	loops.Go(func() error { return g.client.Receive(ctx, g.dispatch) })
	loops.Go(func() error { return g.client.Watch(ctx, h.Trouble) })
	for _, loop := range []func(context.Context) error{g.attach, g.sendBeats, g.keepKey, g.share, g.watchEcho} {
		loops.Go(func() error { return loop(ctx) })
	}
	err := loops.Wait()
	g.lost.Store(err != nil)
	if err == nil && g.roster.hasForeign() {
		g.lastWord = g.fullState()
	}
	return err
}

// do runs one or more commands, as [server.Client.Command] does.
func (g *conn) do(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, server.Timeout)
	defer cancel()
	return g.client.Command(ctx, func() error { return f(ctx) })
}

// publishOn publishes message on a channel, the prefix left out.
func (g *conn) publishOn(ctx context.Context, channel string, message []byte) error {
	return g.do(ctx, func(ctx context.Context) error { return g.client.Redis.Publish(ctx, g.prefix()+channel, message).Err() })
}

func (g *conn) prefix() string { return g.client.Config.Prefix }

// Caps implements [driver.Driver].
func (g *conn) Caps() driver.Caps {
	return driver.Caps{MaxFrame: server.MaxFrame, Linger: server.Linger, Membership: true, Exchange: true, Updates: g.updates}
}

// leaveTimeout bounds the goodbye.
const leaveTimeout = 2 * time.Second

// Close implements [driver.Driver]. A node whose link is lost says nothing: it
// may come back.
func (g *conn) Close(ctx context.Context) error {
	if !g.lost.Load() {
		leaving, cancel := context.WithTimeout(ctx, leaveTimeout)
		defer cancel()
		g.goodbye(leaving)
	}
	g.client.Close()
	return nil
}

// goodbye leaves as Grafana's peers do: it publishes the full state, then
// deletes the key. It also tells own nodes.
func (g *conn) goodbye(ctx context.Context) {
	g.publishState(ctx, g.lastWord)
	bye := g.beat()
	bye.Bye = true
	err := g.do(ctx, func(ctx context.Context) error { return g.client.Keys.Del(ctx, g.prefix()+g.key).Err() })
	if err := errors.Join(err, g.publishOn(ctx, ownChannel, bye.encode())); err != nil {
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

var _ driver.Driver = (*conn)(nil)
