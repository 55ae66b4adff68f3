package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// client is the connections of one driver: a subscription, and commands that run
// one at a time, so that one connection does for all.
type client struct {
	params Params
	redis  goredis.UniversalClient
	sub    *goredis.PubSub // opened by the driver
	life   context.Context // of all connections
	end    context.CancelFunc
	detach func()
	lane   chan struct{} // cap 1: held by the command that runs

	mu       sync.Mutex
	closed   bool
	commands sync.WaitGroup
}

// newClient dials nothing. credentials may be nil.
func newClient(p Params, credentials Credentials, logger *slog.Logger) *client {
	c := &client{params: p, detach: library.attach(logger), lane: make(chan struct{}, 1)}
	c.life, c.end = context.WithCancel(context.Background())
	c.redis = newRedis(c.life, p, credentials)
	return c
}

// newRedis returns go-redis's client, whose connections end with life.
func newRedis(life context.Context, p Params, credentials Credentials) goredis.UniversalClient {
	return goredis.NewUniversalClient(&goredis.UniversalOptions{
		Addrs: p.Address, MasterName: p.MasterName, IsClusterMode: p.Mode == "cluster",
		Username: p.Username, Password: p.Password, CredentialsProviderContext: credentials,
		SentinelUsername: p.SentinelUsername, SentinelPassword: p.SentinelPassword,
		DB: p.DB, ClientName: p.ClientName, DisableIdentity: true, Protocol: 2,
		Dialer: (&dialer{life: life, params: p}).dial, DialTimeout: timeout, DialerRetries: 1, ReadTimeout: timeout, WriteTimeout: timeout,
		MaxRetries: -1, ContextTimeoutEnabled: true,
		PoolSize: p.PoolSize, MaxActiveConns: p.PoolSize, PipelinePoolSize: -1, ConnMaxIdleTime: time.Minute,
	})
}

// close ends the subscription and all connections.
func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	_ = c.sub.Close()   // its connection has ended
	_ = c.redis.Close() // so have these
	c.commands.Wait()
	c.detach()
}

// receive calls take with each message that is published, until ctx is done or
// the subscription is lost. go-redis then has subscribed again, or tried to: what
// was published meanwhile was missed, and a newly opened client asks again
// where the servers are.
func (c *client) receive(ctx context.Context, take func(*goredis.Message)) error {
	for {
		message, err := c.sub.Receive(ctx)
		switch m := message.(type) {
		case *goredis.Message:
			take(m)
		case *goredis.Subscription:
			err = errors.New("it was made again, and messages were missed")
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("redis: %w: the subscription is lost: %w", driver.ErrUnavailable, err)
		}
	}
}

// publish publishes message, within ctx also where the server stalls.
func (c *client) publish(ctx context.Context, channel string, message []byte) error {
	message = bytes.Clone(message) // for a server that stalls beyond ctx
	return c.command(ctx, func() error { return c.redis.Publish(ctx, channel, message).Err() })
}

// command runs f, one at a time. A server that stalls holds the caller until ctx
// is done, and f at most until the client is closed.
func (c *client) command(ctx context.Context, f func() error) error {
	select {
	case c.lane <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.commands.Go(func() {
			err := f()
			<-c.lane
			done <- err
		})
	}
	c.mu.Unlock()
	if closed {
		<-c.lane
		return fmt.Errorf("redis: %w", driver.ErrClosed)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watchInterval is how often a node looks whether its server is a master still.
const watchInterval = time.Second

// watchRole checks until ctx is done whether the server was demoted: what is
// published on a replica reaches only the nodes on that replica.
func (c *client) watchRole(ctx context.Context) error {
	if c.params.Mode == "cluster" {
		return nil // the nodes of a Cluster forward messages, whatever their role
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		look, cancel := context.WithTimeout(ctx, timeout)
		err := c.checkRole(look)
		cancel()
		if err != nil {
			return err
		}
	}
}

// checkRole reads what the server says of itself in its answer to HELLO, which
// every ACL allows. A server that does not know HELLO is trusted, and a link
// that is down shows elsewhere.
func (c *client) checkRole(ctx context.Context) error {
	if c.params.Mode == "cluster" {
		return nil
	}
	var info []any
	if err := c.command(ctx, func() (err error) {
		info, err = c.redis.Do(ctx, "hello", "2").Slice()
		return err
	}); err != nil {
		return nil
	}
	says := map[any]any{}
	for i := 0; i+1 < len(info); i += 2 {
		says[info[i]] = info[i+1]
	}
	switch {
	case says["mode"] == "sentinel":
		return params.Bad("address", "names a Sentinel; give master_name too")
	case says["role"] == "replica" && says["mode"] != "cluster":
		return fmt.Errorf("redis: %w: %w", driver.ErrUnavailable, errReplica)
	}
	return nil
}
