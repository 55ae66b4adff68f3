package redis_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// go-redis sleeps for a second between two tries to dial, also when its pool was
// closed meanwhile; then it ends.
func TestMain(m *testing.M) {
	nemesis.Node()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func start(t testing.TB) conformance.Server {
	return servers.Start(t, servers.Redis(), servers.Options{})
}

// on calls f with a client of s.
func on(t testing.TB, s conformance.Server, f func(ctx context.Context, c *goredis.Client)) {
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr(), DialerRetries: 1, MaxRetries: -1})
	f(t.Context(), c)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func channelOf(cluster string) string { return "clusterchannel:" + url.QueryEscape(cluster) }

func inject(t testing.TB, s conformance.Server, cluster string, frame []byte) {
	on(t, s, func(ctx context.Context, c *goredis.Client) {
		for _, channel := range []string{channelOf(cluster), cluster} {
			if err := c.Publish(ctx, channel, frame).Err(); err != nil {
				t.Error(err)
			}
		}
	})
}

// foreign leaves keys and a subscriber of strangers.
func foreign(t testing.TB, s conformance.Server, cluster string) func() error {
	near := []string{cluster, cluster + ":*", channelOf(cluster), channelOf(cluster) + ":a", channelOf(cluster) + ":state", "clusterchannel:"}
	on(t, s, func(ctx context.Context, c *goredis.Client) {
		for _, key := range near {
			if err := c.Set(ctx, key, "a stranger's", 0).Err(); err != nil {
				t.Error(err)
			}
		}
	})
	return func() (err error) {
		on(t, s, func(ctx context.Context, c *goredis.Client) {
			for _, key := range near {
				if v, got := c.Get(ctx, key).Result(); got != nil || v != "a stranger's" {
					err = fmt.Errorf("the key %q holds %q, %v", key, v, got)
				}
			}
		})
		return err
	}
}

// residue lists channels with subscribers and keys of the cluster.
func residue(t testing.TB, s conformance.Server, cluster string) (left []string) {
	on(t, s, func(ctx context.Context, c *goredis.Client) {
		channels, err := c.PubSubChannels(ctx, "*"+cluster+"*").Result()
		if err != nil {
			t.Error(err)
		}
		keys, err := c.Keys(ctx, "*"+cluster+"*").Result()
		if err != nil {
			t.Error(err)
		}
		left = append(append(left, channels...), keys...)
	})
	return left
}

func TestConformance(t *testing.T) { conformance.Run(t, harness()) }

func harness() conformance.Harness {
	return conformance.Harness{
		Backend: "redis",
		Server:  start,
		Params: func(_ testing.TB, n conformance.Node) map[string]string {
			return map[string]string{"address": n.Server}
		},
		Bad: map[string]map[string]string{
			"adress":                          {"adress": "localhost:6379"},
			"address":                         {"address": "localhost:port"},
			"address that is empty":           {"address": ""},
			"address without a host":          {"address": ":6379"},
			"address that is a URL":           {"address": "redis://localhost:6379"},
			"mode":                            {"mode": "ring"},
			"address that is a list":          {"mode": "single", "address": "a:1,b:1"},
			"master_name":                     {"mode": "sentinel"},
			"master_name with mode cluster":   {"mode": "cluster", "master_name": "main"},
			"sentinel_password":               {"sentinel_password": conformance.Secret},
			"password":                        {"username": "node"},
			"db":                              {"db": "-1"},
			"db of a Cluster":                 {"mode": "cluster", "db": "1"},
			"prefix":                          {"prefix": "a*"},
			"prefix with a blank":             {"prefix": "a b"},
			"pool_size":                       {"pool_size": "0"},
			"client_name":                     {"client_name": "a b"},
			"wire":                            {"wire": "gossip"},
			"tls":                             {"tls": "perhaps"},
			"tls_ca_file":                     {"tls": "true", "tls_ca_file": "/does/not/exist"},
			"tls_ca_file without tls":         {"tls_ca_file": "/does/not/exist"},
			"tls_cert_file":                   {"tls": "true", "tls_key_file": "/does/not/exist"},
			"tls_key_file":                    {"tls": "true", "tls_cert_file": "/does/not/exist"},
			"tls_min_version":                 {"tls": "true", "tls_min_version": "VersionTLS9"},
			"tls_cipher_suites":               {"tls": "true", "tls_cipher_suites": "NULL"},
			"tls_skip_verify without tls":     {"tls_skip_verify": "true"},
			"address with a secret beside it": {"address": "localhost:0", "password": conformance.Secret},
		},
		// Four beats of a node may be late before it counts as deaf, and a container
		// takes a while to start: this leaves a busy machine some room.
		Timing:  conformance.Timing{Channel: backend.Timing{Heartbeat: 250 * time.Millisecond, Grace: 10 * time.Second}},
		Inject:  inject,
		Foreign: foreign,
		Residue: residue,
	}
}
