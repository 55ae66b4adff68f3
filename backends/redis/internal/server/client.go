package server

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

// Client is the connections of one driver: a subscription, and commands that run
// one at a time, so that one connection does for all.
type Client struct {
	Config *Config
	Redis  goredis.UniversalClient
	Sub    *goredis.PubSub // empty until the wire subscribes

	life   context.Context // of all connections
	end    context.CancelFunc
	detach func()
	lane   chan struct{} // cap 1: held by the command that runs

	mu       sync.Mutex
	closed   bool
	commands sync.WaitGroup
}

// New dials nothing.
func New(config *Config, logger *slog.Logger) *Client {
	c := &Client{Config: config, detach: library.attach(logger), lane: make(chan struct{}, 1)}
	c.life, c.end = context.WithCancel(context.Background())
	c.Redis = config.Connect(c.life)
	c.Sub = c.Redis.Subscribe(c.life)
	return c
}

// End ends all connections: go-redis cannot otherwise be interrupted.
func (c *Client) End() { c.end() }

// Ended returns a channel that is closed when the connections end.
func (c *Client) Ended() <-chan struct{} { return c.life.Done() }

// Close ends the subscription and all connections.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	_ = c.Sub.Close()   // its connection has ended
	_ = c.Redis.Close() // so have these
	c.commands.Wait()
	c.detach()
}

// Receive calls take with each message that is published, until ctx is done or
// the subscription is lost. go-redis then has subscribed again, or tried to: what
// was published meanwhile was missed, and a newly opened client asks again
// where the servers are.
func (c *Client) Receive(ctx context.Context, take func(*goredis.Message)) error {
	for {
		message, err := c.Sub.Receive(ctx)
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

// Publish publishes message, within ctx also where the server stalls.
func (c *Client) Publish(ctx context.Context, channel string, message []byte) error {
	message = bytes.Clone(message) // for a server that stalls beyond ctx
	return c.Command(ctx, func() error { return c.Redis.Publish(ctx, channel, message).Err() })
}

// Command runs f, one at a time. A server that stalls holds the caller until ctx
// is done, and f at most until the client is closed.
func (c *Client) Command(ctx context.Context, f func() error) error {
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

// WatchRole checks until ctx is done whether the server was demoted: what is
// published on a replica reaches only the nodes on that replica.
func (c *Client) WatchRole(ctx context.Context) error {
	if c.Config.Options.IsClusterMode {
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
		look, cancel := context.WithTimeout(ctx, Timeout)
		err := c.CheckRole(look)
		cancel()
		if err != nil {
			return err
		}
	}
}

// CheckRole reads what the server says of itself in its answer to HELLO, which
// every ACL allows. A server that does not know HELLO is trusted, and a link
// that is down shows elsewhere.
func (c *Client) CheckRole(ctx context.Context) error {
	if c.Config.Options.IsClusterMode {
		return nil
	}
	var info []any
	if err := c.Command(ctx, func() (err error) {
		info, err = c.Redis.Do(ctx, "hello", "2").Slice()
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
		return fmt.Errorf("redis: %w: %w", driver.ErrUnavailable, ErrReplica)
	}
	return nil
}
