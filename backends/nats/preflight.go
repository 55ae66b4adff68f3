package nats

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// minPayload is the smallest max_payload of a server that can be used: below
// it, the header of a piece leaves no room for data.
const minPayload = 512

var errSmallPayload = errors.New("the server's max_payload is too small")

// subscribe begins to hear the cluster, and makes sure that the server lets this
// node hear and be heard: refusals come as events, some time later.
func (c *conn) subscribe(ctx context.Context) error {
	subjects := []string{c.subject, c.own(c.instance)}
	for _, subject := range subjects {
		sub, err := c.nc.SubscribeSync(subject)
		if err == nil {
			err = sub.SetPendingLimits(pendingFrames, pendingBytes)
		}
		if err != nil {
			return err
		}
		c.subs = append(c.subs, sub)
	}
	if err := c.permitted(ctx); err != nil {
		return err
	}
	for _, subject := range subjects {
		if err := c.nc.Publish(subject, nil); err != nil { // every node ignores an empty message
			return err
		}
	}
	if err := c.permitted(ctx); err != nil {
		return err
	}
	payload := c.nc.MaxPayload()
	if payload < minPayload {
		return fmt.Errorf("%w: it is %d bytes; at least %d are needed", errSmallPayload, payload, minPayload)
	}
	c.maxFrame = int(min(payload, maxFrame))
	return nil
}

// permitted waits until the server has handled what was sent.
func (c *conn) permitted(ctx context.Context) error {
	if err := c.flush(ctx); err != nil {
		return err
	}
	if err := c.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		return c.refused(err)
	}
	return nil
}

func (c *conn) refused(err error) error {
	return fmt.Errorf("the server refuses; this user needs to publish and to subscribe to %q and %q: %w", c.subject, c.own("*"), err)
}
