// Package redis is the backend over Redis, or what speaks its protocol,
// registered as "redis": one server, Sentinels or a Cluster, by go-redis. As the
// scheme of a URL, "rediss" is the same with TLS:
//
//	redis://:secret@redis.example:6379/0?cluster=alerts
//	rediss://user:secret@sentinel-1,sentinel-2,sentinel-3?master_name=main&cluster=alerts
//
// # Parameters
//
// [Params] documents each key of the block. Credentials that change, such as
// tokens, come from a function of the service: see [WithCredentials].
//
// With wire: grafana a node speaks as Grafana's alerting does over Redis. A
// service migrates by replacing Grafana's peers one by one: meanwhile all are
// members of one list, in one order, and share their states. Prefix must then
// be exactly Grafana's ha_redis_prefix, which is empty by default, and only the
// prefix keeps clusters apart.
//
// # Delivery
//
// Frames for all are published on one channel of the cluster. Its name is the
// prefix and the cluster's name, escaped as in a URL; the two together keep
// clusters apart. The logical database does not. A frame for one node, such as
// a state that it lacks, goes to the node's own channel: the same name, a colon
// and the node's instance. It needs no subscription to a pattern, and refuses a
// prefix that holds wildcards.
//
// A server sends each frame to every node, in order, the sender included. Frames
// are at most 512 KiB, and about 1 MiB of a state is on its way to a node that has
// not confirmed it, so that a server of default configuration
// (client-output-buffer-limit pubsub 32mb 8mb 60) need not end the subscription
// of a node on a slow link. If it does so nevertheless, because broadcasts
// arrive faster than the node reads, the node subscribes again and is repaired
// by state exchange.
//
// With wire: grafana a node subscribes to the pattern prefix:*. While there are
// peers of Grafana, each update is published on its state's channel, as they
// do, and own nodes hear it there. Without them, and for everything that only
// own nodes understand, there is the channel prefix:clusterchannel, which
// Grafana does not subscribe to. Grafana's peers look for updates ten times a
// second, and what they lose comes with a full state: an own node publishes its
// state every minute, on request and on leaving, while they are there. Updates
// and full states above 16 MiB do not reach them. A node asks for their state
// when it finds them, and three times more within 15 seconds. A state that is
// added later waits for their full state, for up to ha_push_pull_interval,
// unless another own node has it.
//
// # Membership
//
// By heartbeat of the portable layer.
//
// With wire: grafana each node writes a key, prefix:name+instance, every five
// seconds, and scans those of Grafana's peers as often, or at once when they
// publish a full state or ask for one. Then it also sees that a peer has left.
// A peer that crashes counts for a minute, as it does for Grafana; its clock
// matters only until its heartbeat has been seen to move. Grafana's peers do
// not see a node whose clock is late by more than a minute, which is logged.
// Own nodes use beats: they see a crash within two to three seconds, and delete
// the key, so that Grafana's peers see it at their next scan. Keys below
// prefix:other: are Grafana's members too, as they are to Grafana.
//
// # When the server is lost
//
// When a subscription ends, by CLIENT KILL, an idle proxy or a restart, a new
// client is opened, with back-off, forever, so that Sentinels and DNS are asked
// again. A node notices that a server is silent when it no longer hears itself.
// It leaves a demoted master within a second or two: each node checks its
// server's role, because what is published on a replica does not reach the
// master.
//
// In a Cluster a node is at one of the servers that are listed, for the
// subscription and to publish: they forward frames to each other, whatever their
// role and the slot's owner. So moving slots and failing a master over concern no
// node, and the crash of a server costs those at it a reconnect. A node leaves a
// server that was taken out of the Cluster, or has lost most masters while
// another one has not. For that the rights are also +cluster|info and
// +cluster|nodes; without them the server is trusted. List several servers: others
// are not used.
//
// All Sentinels are asked, when a node is opened and every second. Where they
// contradict each other, the answer of the highest configuration epoch counts,
// and at equal epochs that of most; the log and the status page say so. A node
// leaves its master when they name another one.
//
// With wire: grafana the same holds. Grafana's peers keep their list for a
// minute, and are alone then. Own nodes keep theirs for grace; set it to 1m,
// and both kinds decide alike. When somebody empties the server, Grafana's
// peers are alone until the next heartbeats, ten seconds at most; own nodes
// keep their list.
//
// At Open, and whenever a client is opened, the node subscribes and publishes
// once. A wrong password, an ACL that lacks a right, an unknown master name, a
// port that speaks something else or a proxy without pub/sub is ErrConfig at Open,
// and names the key; later the link is lost, and the node keeps trying. The
// rights are +subscribe, +publish and the channels &prefix:*. With wire:
// grafana they are +psubscribe, +publish, +set, +del, +scan, +mget, the
// channels &prefix:* and the keys ~prefix:*.
//
// A server that has reached maxmemory, cannot save or is loading its data set
// still carries frames. CLIENT PAUSE holds them back: the nodes are Detached until
// it ends. With wire: grafana no heartbeat can be written to a server that
// refuses writes, which is logged: Grafana's peers miss own nodes a minute
// later, and list them again when it accepts writes.
//
// go-redis has one logger in a process. When this package is initialized it
// sets a logger that passes lines on to that of the node opened last, or to
// slog.Default() while there is none, at level info, each kind of line once in
// ten seconds. A logger that the service sets with redis.SetLogger stays.
//
// # Server footprint
//
// No keys. One channel for each cluster and one for each node. Each node has
// two connections, one for the subscription and one for commands, and one to each
// Sentinel. pool_size only bounds them. Once a second a node sends HELLO, in a
// Cluster CLUSTER INFO, and asks each Sentinel for the master.
//
// With wire: grafana a connection to each master of a Cluster, a key, which lives for five minutes after a crash, a
// subscription to a pattern, two beats a second, which stretch as the cluster
// grows beyond ten nodes, and every five seconds a SET and a SCAN of the whole
// database, with an MGET for each key that matches.
package redis

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/driver/flow"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backends/redis/internal/grafana"
	"github.com/clusterchannel/clusterchannel/backends/redis/internal/server"
)

// channels is how many a node subscribes to: the cluster's and its own.
const channels = 2

func init() {
	backend.Register("redis", driver.Backend{Open: Open, Params: Params{}, Examine: examine})
	backend.Register("rediss", driver.Backend{Open: openTLS, Params: Params{}, Examine: examineTLS})
}

// Open is the backend's driver.OpenFunc.
func Open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	return open(ctx, o, nil, GrafanaTiming{})
}

// Credentials returns the username and the password for a new connection to a
// server, in place of those in Params: a token that expires, for example. The
// username may be empty. It is called for each connection, from any goroutine, and
// should return by the end of ctx.
type Credentials func(ctx context.Context) (username, password string, err error)

// WithCredentials returns an OpenFunc for backend.Config.Driver, with
// credentials that no configuration can hold.
func WithCredentials(c Credentials) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		return open(ctx, o, c, GrafanaTiming{})
	}
}

// GrafanaTiming are the periods on Grafana's wire. Zero means the default; the
// defaults for the key are Grafana's own. All nodes of a cluster have the same.
type GrafanaTiming struct {
	Heartbeat time.Duration // between writes of the own key, and between scans: 5s
	Expiry    time.Duration // how long a peer's key counts: 1m
	TTL       time.Duration // of the own key: 5m
	FullState time.Duration // between full states, while there are Grafana peers: 1m
	Beat      time.Duration // between beats of own nodes: 500ms
}

// WithGrafanaTiming returns an OpenFunc for backend.Config.Driver, with other
// periods on Grafana's wire: for a Grafana that was built with others, and for
// tests.
func WithGrafanaTiming(t GrafanaTiming) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) { return open(ctx, o, nil, t) }
}

func open(ctx context.Context, o driver.Options, credentials Credentials, t GrafanaTiming) (driver.Driver, error) {
	p, err := parse(o.Params)
	if err != nil {
		return nil, err
	}
	if err := params.RequireCluster(o.Cluster); err != nil {
		return nil, err
	}
	if credentials != nil && p.Password != "" {
		return nil, params.Bad("password", "is given, but the service supplies the credentials itself; leave it out")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.Wire == "grafana" {
		return grafana.Open(ctx, o, p.server(credentials), grafana.Timing(t))
	}
	c := &conn{
		client: server.New(p.server(credentials), o.Logger), logger: o.Logger,
		channel: p.Prefix + url.QueryEscape(o.Cluster), instance: o.Self.Instance,
	}
	c.flow = flow.New("redis", c.instance, func(ctx context.Context, instance string, payload []byte) error {
		return c.publish(ctx, c.own(instance), payload)
	})
	if err := c.client.Open(ctx, c.preflight); err != nil {
		return nil, err
	}
	return c, nil
}

// conn is the driver.
type conn struct {
	client   *server.Client
	logger   *slog.Logger
	channel  string // of the cluster
	instance string
	flow     *flow.Flow
}

// own returns the channel of one node.
func (c *conn) own(instance string) string { return c.channel + ":" + instance }

// Caps describes a bus that can also send to one node alone.
func (c *conn) Caps() driver.Caps {
	return driver.Caps{MaxFrame: server.MaxFrame, Linger: server.Linger, Send: c.flow.Send}
}

// Serve hands over what is published until the subscription is lost, or the
// server is no longer a master.
func (c *conn) Serve(ctx context.Context, h driver.Handler) error {
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, c.client.End)() // go-redis cannot otherwise be interrupted
	h.Link(nil)
	g.Go(func() error {
		return c.client.Receive(ctx, func(m *goredis.Message) {
			if payload := server.Payload(m); m.Channel == c.channel || c.flow.Heard(payload) {
				h.Frame(payload)
			}
		})
	})
	g.Go(func() error { return c.client.Watch(ctx, h.Trouble) })
	g.Go(func() error { return c.flow.Serve(ctx) })
	return g.Wait()
}

// Broadcast publishes frame to all.
func (c *conn) Broadcast(ctx context.Context, frame []byte) error {
	return c.publish(ctx, c.channel, frame)
}

func (c *conn) publish(ctx context.Context, channel string, frame []byte) error {
	if err := server.CheckSize(frame); err != nil {
		return err
	}
	err := c.client.Publish(ctx, channel, frame)
	if err == nil || errors.Is(err, driver.ErrClosed) {
		return err
	}
	return c.client.Config.Explain("PUBLISH "+channel, err)
}

// Close ends the subscription and all connections. What Broadcast accepted was
// published.
func (c *conn) Close(context.Context) error {
	c.client.Close()
	return nil
}

var _ driver.Driver = (*conn)(nil)
