package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// report hands on what the callbacks say about the link, until it is lost for
// good.
func (c *conn) report(ctx context.Context, h driver.Handler) error {
	for {
		select {
		case err := <-c.links:
			if errors.Is(err, driver.ErrUnavailable) {
				return err
			}
			h.Link(err)
		case <-ctx.Done():
			return nil
		}
	}
}

// link makes Serve report the state of the link.
func (c *conn) link(err error) {
	select {
	case c.links <- err:
	case <-c.serving.Done():
	}
}

// giveUp makes the portable layer open another driver.
func (c *conn) giveUp(err error) { c.link(fmt.Errorf("nats: %w: %w", driver.ErrUnavailable, err)) }

// reconnected is called when the library has subscribed again, maybe at another
// server.
func (c *conn) reconnected(nc *nats.Conn) {
	if payload := nc.MaxPayload(); payload < int64(c.maxFrame) {
		c.giveUp(fmt.Errorf("the server's max_payload is %d bytes now, it was %d or more", payload, c.maxFrame))
		return
	}
	c.link(nil)
}

// troubled is called with what goes wrong while the connection stays.
func (c *conn) troubled(_ *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		c.giveUp(c.refused(err))
	case errors.Is(err, nats.ErrSlowConsumer):
		c.slow(sub)
	default:
		c.log.Debug("the library reports an error", "err", err)
	}
}

// leaving is called when the server is about to stop, and ends one connection
// after the other. The library then goes to another server.
func (c *conn) leaving(nc *nats.Conn) {
	c.log.Info("the server is about to stop; this node goes to another when its connection ends", "server", nc.ConnectedUrlRedacted())
}

// slow reports frames that were dropped here. The events come in pairs with
// every frame that there is room for.
func (c *conn) slow(sub *nats.Subscription) {
	if _, ok := c.lines.Allow("slow"); !ok {
		return
	}
	dropped, _ := sub.Dropped() // fails for a subscription that is closed
	c.log.Warn("this node is too slow for what arrives; gaps are repaired by state exchange", "frames_dropped", dropped)
}

// ended is called last, when the connection is closed for good: by Close, or by
// an error that the library gives up on, as when a server has refused the
// credentials twice.
func (c *conn) ended(nc *nats.Conn) {
	defer close(c.closed)
	err := cmp.Or(nc.LastError(), nats.ErrConnectionClosed)
	c.giveUp(fmt.Errorf("the connection has ended: %s%w", hint(err), err))
}

// lost is the reason why the link is down, while the library tries.
func lost(err error) error {
	return fmt.Errorf("nats: not connected, still trying: %s%w", hint(err), cmp.Or(err, errors.New("the connection was closed")))
}

// retry is called when all servers were tried once more without success, or are
// about to be tried. It reports why, and returns how long to wait.
func (c *conn) retry(round int) time.Duration {
	<-c.connected
	if err := c.nc.LastError(); err != nil {
		c.link(lost(err))
	}
	d := min(retryMin<<min(round-1, 10), retryMax)
	return time.Duration(float64(d) * (0.5 + rand.Float64()/2))
}
