package servers_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

var _ conformance.Server = (*servers.Cluster)(nil)

// TestCluster stores at one member what another has, with a third killed or
// paused.
func TestCluster(t *testing.T) {
	etcdctl := func(args ...string) []string {
		return append([]string{"etcdctl", "--endpoints", "127.0.0.1:{port}"}, args...)
	}
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Setenv("CLUSTERCHANNEL_SERVERS", engine)
			c := servers.StartCluster(t, servers.Etcd(), 3, servers.Options{})
			m := c.Members()
			put := func(key string) { t.Helper(); putAt(t, m[0], key) }
			has := func(what string) bool { return prints("stored", etcdctl("get", what)...)(t, m[1]) }
			m[2].Kill(t)
			put("killed")
			m[2].Start(t)
			m[2].Pause(t)
			put("paused")
			m[2].Resume(t)
			c.Stop(t)
			for _, s := range m {
				silent(t, servers.Etcd(), s)
			}
			c.Start(t)
			if !has("killed") || !has("paused") {
				t.Error("what was stored at one member is not at another")
			}
			c.Stop(t)
			c.Empty(t)
			c.Start(t)
			if has("killed") {
				t.Error("what was stored is still there")
			}
		})
	}
}

// TestPart checks that a member that is separated from the others serves, and
// has no leader.
func TestPart(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Setenv("CLUSTERCHANNEL_SERVERS", engine)
			c := servers.StartCluster(t, servers.Etcd(), 3, servers.Options{})
			if !c.Parts() {
				if engine == "container" {
					t.Error("members in containers cannot be parted")
				}
				return
			}
			parted := c.Members()[2]
			leader := func() (uint64, error) {
				client := dialEtcd(t, parted)
				defer client.Close() //nolint:errcheck // it only asked
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				status, err := client.Status(ctx, parted.Addr())
				if err != nil {
					return 0, err
				}
				return status.Leader, nil
			}
			for range 2 {
				c.Part(t, 2)
				testkit.Eventually(t, 30*time.Second, func() error {
					if id, err := leader(); err != nil || id != 0 {
						return fmt.Errorf("the leader is %x: %v", id, err)
					}
					return nil
				})
				putAt(t, c.Members()[0], "parted")
				c.Heal(t, 2)
				putAt(t, parted, "healed")
			}
		})
	}
}

// putAt stores something, at the latest when the members have another leader: the
// first was perhaps the one that was taken away, and what was on its way to it is
// lost.
func putAt(t *testing.T, s *servers.Server, key string) {
	t.Helper()
	client := dialEtcd(t, s)
	testkit.Eventually(t, 30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := client.Put(ctx, key, "stored")
		return err
	})
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func dialEtcd(t *testing.T, s *servers.Server) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestClusterAddr checks that a client that dials again reaches another server,
// and that all are ready.
func TestClusterAddr(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Setenv("CLUSTERCHANNEL_SERVERS", engine)
			k := servers.NATS()
			c := servers.StartCluster(t, k, 3, servers.Options{})
			var asked []string
			for range 6 {
				asked = append(asked, c.Addr())
			}
			if want := slices.Concat(c.Addrs(), c.Addrs()); !slices.Equal(asked, want) {
				t.Errorf("it is at %v, want %v", asked, want)
			}
			if err := k.Joined(t.Context(), c.Addrs()); err != nil {
				t.Error(err)
			}
			lone := servers.Start(t, k, servers.Options{})
			if err := k.Joined(t.Context(), []string{asked[0], lone.Addr()}); err == nil {
				t.Error("a server that is none of the cluster is taken for one")
			}
		})
	}
}
