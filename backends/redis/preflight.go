package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// watchInterval is how often a node looks whether its server is a master still.
const watchInterval = time.Second

// preflight subscribes, and shows that the endpoint is one that can carry a
// cluster. What it publishes is empty, and for itself.
func (d *node) preflight(ctx context.Context) error {
	if err := d.subscribe(ctx); err != nil {
		return d.params.explain("SUBSCRIBE "+d.channel, d.diagnose(ctx, err))
	}
	if err := d.publish(ctx, d.own(d.instance), nil); err != nil {
		return err
	}
	return d.checkRole(ctx)
}

func (d *node) subscribe(ctx context.Context) error {
	if err := d.sub.Subscribe(ctx, d.channel, d.own(d.instance)); err != nil {
		return err
	}
	for {
		message, err := d.sub.ReceiveTimeout(ctx, timeout)
		if err != nil {
			return err
		}
		if s, ok := message.(*goredis.Subscription); ok && s.Count == channels {
			return nil
		}
	}
}

// watch looks, as long as d lives, whether the server was demoted: who publishes
// on a replica is heard by those on the same replica only.
func (d *node) watch() {
	if d.params.Mode == "cluster" {
		return // nodes of a Cluster hand on what is published, whatever their role
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-d.life.Done():
			return
		}
		if err := d.checkRole(d.life); err != nil && d.life.Err() == nil {
			d.h.Link(err)
			return
		}
	}
}

// checkRole reads what the server says of itself in its answer to HELLO, which
// every ACL allows. A server that does not know HELLO is trusted, and a link
// that is down shows elsewhere.
func (d *node) checkRole(ctx context.Context) error {
	if d.params.Mode == "cluster" {
		return nil
	}
	var info []any
	if err := d.command(ctx, func() (err error) {
		info, err = d.client.Do(ctx, "hello", "2").Slice()
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
		return bad("address", "names a Sentinel; give master_name too")
	case says["role"] == "replica" && says["mode"] != "cluster":
		return fmt.Errorf("redis: %w: %w", driver.ErrUnavailable, errReplica)
	}
	return nil
}

// isReply tells whether err is the server's own answer.
func isReply(err error) bool {
	var reply goredis.Error
	return errors.As(err, &reply)
}
