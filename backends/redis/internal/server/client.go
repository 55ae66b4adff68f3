package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
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

// Within runs f, and ends all connections, and with them f, where ctx ends first.
func (c *Client) Within(ctx context.Context, f func(context.Context) error) error {
	stop := context.AfterFunc(ctx, c.end)
	err := f(ctx)
	if !stop() {
		return fmt.Errorf("redis: %w: no answer in time: %w", driver.ErrUnavailable, ctx.Err())
	}
	return err
}

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
