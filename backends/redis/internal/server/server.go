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
func (c *Config) single() bool { return !c.cluster() && c.Options.MasterName == "" }

// cluster reports whether the servers are a Redis Cluster.
func (c *Config) cluster() bool { return c.Options.IsClusterMode }

// options are those of every connection, which end with life.
func (c *Config) options(life context.Context) goredis.UniversalOptions {
	o := c.Options
	o.DisableIdentity, o.Protocol = true, 2
	o.Dialer, o.DialTimeout, o.DialerRetries, o.ReadTimeout, o.WriteTimeout = c.Dialer(life), Timeout, 1, Timeout, Timeout
	o.MaxRetries, o.ContextTimeoutEnabled = -1, true
	o.MaxActiveConns, o.PipelinePoolSize, o.ConnMaxIdleTime = o.PoolSize, -1, time.Minute
	return o
}

// to returns go-redis's client of the server at addr. It dials nothing yet.
func (c *Config) to(life context.Context, addr string) *goredis.Client {
	o := c.options(life)
	one := o.Simple()
	one.Addr = addr
	return goredis.NewClient(one)
}

// toSentinel returns go-redis's client of the Sentinel at addr.
func (c *Config) toSentinel(life context.Context, addr string) *goredis.Client {
	o := c.options(life)
	o.Username, o.Password, o.CredentialsProviderContext, o.DB = o.SentinelUsername, o.SentinelPassword, nil, 0
	one := o.Simple()
	one.Addr = addr
	return goredis.NewClient(one)
}

// toKeys returns go-redis's client of a Cluster, which finds each key's owner.
func (c *Config) toKeys(life context.Context) *goredis.ClusterClient {
	o := c.options(life)
	return goredis.NewClusterClient(o.Cluster())
}
