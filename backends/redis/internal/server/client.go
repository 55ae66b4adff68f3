package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unsafe"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Client is the connections of one driver to one server: a subscription, and
// commands that run one at a time, so that one connection does for all.
type Client struct {
	Config *Config
	Redis  *goredis.Client         // of the server where the node is attached
	Keys   goredis.UniversalClient // where keys are: in a Cluster at their owners
	Sub    *goredis.PubSub         // empty until the wire subscribes

	servers finder
	life    context.Context // of all connections
	end     context.CancelFunc
	detach  func()
	lane    chan struct{} // cap 1: held by the command that runs

	mu     sync.Mutex
	closed bool
	closes []func() error // of go-redis's clients
	calls  sync.WaitGroup // of go-redis, which only the end of life interrupts
}

// finder knows which server a node attaches to.
type finder interface {
	// find returns the address of that server.
	find(ctx context.Context) (addr string, err error)

	// check returns why the node has to leave it. What is wrong besides is told to
	// trouble, as by a driver.Handler.
	check(ctx context.Context, trouble func(what string, err error)) error
}

// New dials nothing.
func New(config *Config, logger *slog.Logger) *Client {
	c := &Client{Config: config, detach: library.attach(logger), lane: make(chan struct{}, 1)}
	c.life, c.end = context.WithCancel(context.Background())
	switch {
	case config.cluster():
		c.servers = &masters{client: c}
	case config.single():
		c.servers = lone(config.Options.Addrs[0])
	default:
		c.servers = newSentinels(c)
	}
	return c
}

// lone is a server without others.
type lone string

func (l lone) find(context.Context) (string, error)                    { return string(l), nil }
func (lone) check(context.Context, func(what string, err error)) error { return nil }

// Open finds the server and runs preflight on it. Where ctx ends first, so do all
// connections, and with them Open. After an error the client is closed.
func (c *Client) Open(ctx context.Context, preflight func(context.Context) error) error {
	stop := context.AfterFunc(ctx, c.end)
	err := c.connect(ctx)
	if err == nil {
		err = preflight(ctx)
	}
	if !stop() {
		err = fmt.Errorf("redis: %w: no answer in time: %w", driver.ErrUnavailable, ctx.Err())
	}
	if err != nil {
		c.Close()
	}
	return err
}

func (c *Client) connect(ctx context.Context) error {
	addr, err := c.servers.find(ctx)
	if err != nil {
		return err
	}
	c.Redis = c.Config.to(c.life, addr)
	c.Keys = c.Redis
	c.Sub = c.Redis.Subscribe(c.life)
	c.keep(c.Sub.Close, c.Redis.Close)
	if c.Config.cluster() {
		keys := c.Config.toKeys(c.life)
		c.Keys = keys
		c.keep(keys.Close)
	}
	return nil
}

// keep has clients closed with this one.
func (c *Client) keep(closes ...func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closes = append(c.closes, closes...)
}

// End ends all connections: go-redis cannot otherwise be interrupted.
func (c *Client) End() { c.end() }

// Ended returns a channel that is closed when the connections end.
func (c *Client) Ended() <-chan struct{} { return c.life.Done() }

// Close ends the subscription and all connections.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	closes := c.closes
	c.mu.Unlock()
	c.end()
	for _, f := range closes {
		_ = f() // its connections have ended
	}
	c.calls.Wait()
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

// Payload returns what a message holds, which must not be modified.
func Payload(m *goredis.Message) []byte {
	return unsafe.Slice(unsafe.StringData(m.Payload), len(m.Payload)) // a copy takes as long as all else
}

// cutDelay is how long a command that reads what is the caller's may take to end
// after its context has.
const cutDelay = 250 * time.Millisecond

// Publish publishes message, which is the caller's again when it returns. If that
// is not soon after ctx has ended, all connections end.
func (c *Client) Publish(ctx context.Context, channel string, message []byte) error {
	done, err := c.run(ctx, func() error { return c.Redis.Publish(ctx, channel, message).Err() })
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	cut := time.AfterFunc(cutDelay, c.end)
	defer cut.Stop()
	return <-done
}

// Command runs f, one at a time. A server that stalls holds the caller until ctx
// is done, and f at most until the client is closed.
func (c *Client) Command(ctx context.Context, f func() error) error {
	done, err := c.run(ctx, f)
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run runs f when no other command runs, and hands over its result.
func (c *Client) run(ctx context.Context, f func() error) (done <-chan error, err error) {
	select {
	case c.lane <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	result := make(chan error, 1)
	if !c.start(func() {
		err := f()
		<-c.lane
		result <- err
	}) {
		<-c.lane
		return nil, fmt.Errorf("redis: %w", driver.ErrClosed)
	}
	return result, nil
}

// start runs f on a goroutine that Close waits for. It reports whether the client
// is still open.
func (c *Client) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.calls.Go(f)
	}
	return !c.closed
}
