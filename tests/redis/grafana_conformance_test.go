package redis_test

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/conformance"
)

// grafanaPrefix is the prefix that stands for a cluster: on this wire it alone
// keeps clusters apart.
func grafanaPrefix(cluster string) string { return "grafana-" + url.QueryEscape(cluster) + ":" }

// grafanaStrangers leaves keys that match the pattern of the cluster and are no
// heartbeats, and heartbeats of clusters with similar prefixes.
func grafanaStrangers(t testing.TB, s conformance.Server, cluster string) func() error {
	prefix, now := grafanaPrefix(cluster), strconv.FormatInt(time.Now().Unix(), 10)
	keys := map[string]string{
		prefix: now, prefix + "text": "a stranger's", prefix + "counter": "12345", prefix + "old": "1500000000",
		prefix + "x:nested+aaaaaaaaaaaaa": now, grafanaPrefix(cluster + "x"): now, grafanaPrefix(cluster+"x") + "peer": now, "peer": now,
	}
	on(t, s, func(ctx context.Context, c *goredis.Client) {
		for key, value := range keys {
			if err := c.Set(ctx, key, value, 0).Err(); err != nil {
				t.Error(err)
			}
		}
		if err := c.HSet(ctx, prefix+"hash", "field", now).Err(); err != nil {
			t.Error(err)
		}
	})
	return func() (err error) {
		on(t, s, func(ctx context.Context, c *goredis.Client) {
			for key, value := range keys {
				if v, got := c.Get(ctx, key).Result(); got != nil || v != value {
					err = fmt.Errorf("the key %q holds %q, %v", key, v, got)
				}
			}
		})
		return err
	}
}

func TestConformanceOnGrafanasWire(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Backend: "redis",
		Server:  start,
		Params: func(_ testing.TB, n conformance.Node) map[string]string {
			return map[string]string{"address": n.Server, "wire": "grafana", "prefix": grafanaPrefix(n.Cluster)}
		},
		Bad: map[string]map[string]string{
			"wire":   {"wire": "Grafana"},
			"prefix": {"wire": "grafana", "prefix": "a*"},
			"db":     {"wire": "grafana", "db": "-1", "password": conformance.Secret},
		},
		Inject: func(t testing.TB, s conformance.Server, cluster string, frame []byte) {
			on(t, s, func(ctx context.Context, c *goredis.Client) {
				for _, channel := range []string{"clusterchannel", "full_state", "full_state:request", "set"} {
					if err := c.Publish(ctx, grafanaPrefix(cluster)+channel, frame).Err(); err != nil {
						t.Error(err)
					}
				}
			})
		},
		Foreign: grafanaStrangers,
		Residue: func(t testing.TB, s conformance.Server, cluster string) (left []string) {
			on(t, s, func(ctx context.Context, c *goredis.Client) {
				keys, err := c.Keys(ctx, grafanaPrefix(cluster)+"*").Result()
				if err != nil {
					t.Error(err)
				}
				left = append(left, keys...)
				if n := c.PubSubNumPat(ctx).Val(); n > 0 {
					left = append(left, fmt.Sprintf("%d patterns", n))
				}
			})
			return left
		},
	})
}
