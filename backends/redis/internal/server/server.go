// Package server is what both wires of the Redis backend share: the connections to
// the servers, what their errors say of the configuration, and the check that a
// server is still a master.
package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Timeout bounds each step of talking with a server: connecting, with TLS, and
// each reply.
const Timeout = 3 * time.Second

// MaxFrame is far below what a server queues for one subscriber before it drops
// it: 32 MiB, or 8 MiB for a minute (client-output-buffer-limit pubsub). Beats
// pass between two frames.
const MaxFrame = 512 << 10

// Linger is how long a server of default configuration lets a subscriber be
// behind by more than 8 MiB before it drops it. A node that is behind by less
// for longer does not hear itself, and subscribes again.
const Linger = time.Minute

// CheckSize refuses a frame that is larger than MaxFrame.
func CheckSize(frame []byte) error {
	if len(frame) > MaxFrame {
		return fmt.Errorf("redis: %w: frame of %d bytes, at most %d are published at once", driver.ErrTooLarge, len(frame), MaxFrame)
	}
	return nil
}

// Config says where the servers are, and how a node connects to them.
type Config struct {
	Options goredis.UniversalOptions               // as the parameters set them; Connect adds the rest
	TLS     func(host string) (*tls.Config, error) // for a server of that host; nil without TLS
	Prefix  string                                 // of all names of channels and keys
}

// single reports whether there is one server: no Cluster, no Sentinels.
func (c *Config) single() bool { return !c.Options.IsClusterMode && c.Options.MasterName == "" }

// Connect returns go-redis's client. It dials nothing yet; its connections end
// with life.
func (c *Config) Connect(life context.Context) goredis.UniversalClient {
	o := c.Options
	o.DisableIdentity, o.Protocol = true, 2
	o.Dialer, o.DialTimeout, o.DialerRetries, o.ReadTimeout, o.WriteTimeout = c.Dialer(life), Timeout, 1, Timeout, Timeout
	o.MaxRetries, o.ContextTimeoutEnabled = -1, true
	o.MaxActiveConns, o.PipelinePoolSize, o.ConnMaxIdleTime = o.PoolSize, -1, time.Minute
	return goredis.NewUniversalClient(&o)
}
