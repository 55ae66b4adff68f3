package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// preflight subscribes, and checks that the endpoint can carry a cluster. It
// publishes one empty message, which is for itself.
func (c *conn) preflight(ctx context.Context) error {
	if err := c.subscribe(ctx); err != nil {
		return c.client.params.explain("SUBSCRIBE "+c.channel, c.client.diagnose(ctx, err, c.own(c.instance)))
	}
	if err := c.publish(ctx, c.own(c.instance), nil); err != nil {
		return err
	}
	return c.client.checkRole(ctx)
}

func (c *conn) subscribe(ctx context.Context) error {
	if err := c.client.sub.Subscribe(ctx, c.channel, c.own(c.instance)); err != nil {
		return err
	}
	for {
		message, err := c.client.sub.ReceiveTimeout(ctx, timeout)
		if err != nil {
			return err
		}
		if s, ok := message.(*goredis.Subscription); ok && s.Count == channels {
			return nil
		}
	}
}
