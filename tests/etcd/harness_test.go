package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

func TestMain(m *testing.M) {
	nemesis.Node()
	goleak.VerifyTestMain(m)
}

const prefix = "/clusterchannel/"

// admin returns a client for the tests.
func admin(t testing.TB, addr string, edits ...func(*clientv3.Config)) *clientv3.Client {
	t.Helper()
	c := clientv3.Config{Endpoints: []string{addr}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	for _, edit := range edits {
		edit(&c)
	}
	client, err := clientv3.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return client
}

// within gives a call some time.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func put(t testing.TB, c *clientv3.Client, key, value string, opts ...clientv3.OpOption) {
	t.Helper()
	if _, err := c.Put(within(t), key, value, opts...); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// keysBelow lists what is stored, with the leases.
func keysBelow(t testing.TB, c *clientv3.Client, key string) []string {
	t.Helper()
	r, err := c.Get(within(t), key, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	var keys []string
	for _, kv := range r.Kvs {
		keys = append(keys, fmt.Sprintf("%s (lease %x)", kv.Key, kv.Lease))
	}
	return keys
}

func leases(t testing.TB, c *clientv3.Client) []clientv3.LeaseStatus {
	t.Helper()
	r, err := c.Leases(within(t))
	if err != nil {
		t.Fatalf("leases: %v", err)
	}
	return r.Leases
}

func start(t testing.TB, args ...string) *servers.Server {
	t.Helper()
	return servers.Start(t, servers.Etcd(), servers.Options{Args: args})
}

// startCluster starts three members.
func startCluster(t testing.TB) *servers.Cluster {
	t.Helper()
	return servers.StartCluster(t, servers.Etcd(), 3, servers.Options{})
}
