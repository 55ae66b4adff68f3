package server

import (
	"context"
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// watchInterval is how often a node looks whether its server is the right one
// still.
const watchInterval = time.Second

// Watch checks until ctx is done whether the server was demoted, or the node has
// to leave it for another reason. What is wrong besides is told to trouble.
func (c *Client) Watch(ctx context.Context, trouble func(what string, err error)) error {
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
		if err == nil {
			err = c.servers.check(look, trouble)
		}
		cancel()
		if err != nil {
			return err
		}
	}
}

// CheckRole reads what the server says of itself in its answer to HELLO, which
// every ACL allows: what is published on a replica reaches only the nodes on that
// replica. A server that does not know HELLO is trusted, and a link that is down
// shows elsewhere. The servers of a Cluster forward messages, whatever their role.
func (c *Client) CheckRole(ctx context.Context) error {
	if c.Config.cluster() {
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
