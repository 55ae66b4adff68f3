package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backends/redis/internal/server"
)

// preflight subscribes, and checks that the endpoint can carry a cluster. It
// publishes one empty message, which is for itself.
func (c *conn) preflight(ctx context.Context) error {
	if err := c.subscribe(ctx); err != nil {
		return c.client.Config.Explain("SUBSCRIBE "+c.channel, c.client.Diagnose(ctx, err, c.own(c.instance)))
	}
	if err := c.publish(ctx, c.own(c.instance), nil); err != nil {
		return err
	}
	return c.client.CheckRole(ctx)
}

func (c *conn) subscribe(ctx context.Context) error {
	if err := c.client.Sub.Subscribe(ctx, c.channel, c.own(c.instance)); err != nil {
		return err
	}
	for {
		message, err := c.client.Sub.ReceiveTimeout(ctx, server.Timeout)
		if err != nil {
			return err
		}
		if s, ok := message.(*goredis.Subscription); ok && s.Count == channels {
			return nil
		}
	}
}
