package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// guarded is an etcd with authentication. Its user "app" may use our prefix,
// "other" nothing.
func guarded(t testing.TB, args ...string) (*servers.Server, *clientv3.Client) {
	t.Helper()
	server := servers.Start(t, servers.Etcd(), servers.Options{
		Args:  append(args, "--bcrypt-cost", "4"), // the default is slow on purpose
		Files: map[string][]byte{"key": []byte("what signs tokens, where they are signed")},
	})
	client := admin(t, server.Addr())
	ctx := within(t)
	role := clientv3.PermissionType(clientv3.PermReadWrite)
	steps := []func() error{
		func() error { _, err := client.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := client.UserAdd(ctx, "other", conformance.Secret); return err },
		func() error { _, err := client.UserAdd(ctx, "app", conformance.Secret); return err },
		func() error { _, err := client.RoleAdd(ctx, "app"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "app", prefix, clientv3.GetPrefixRangeEnd(prefix), role)
			return err
		},
		func() error { _, err := client.UserGrantRole(ctx, "app", "app"); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	root := admin(t, server.Addr(), func(c *clientv3.Config) { c.Username, c.Password = "root", "root" })
	return server, root
}

func as(user, password, addr string) map[string]string {
	p := endpoints(addr)
	p["username"], p["password"] = user, password
	return p
}

// TestTokenExpires makes tokens expire after a second: when unused, if the
// server keeps them, or in any case, if they are signed. No link is lost
// because of that.
func TestTokenExpires(t *testing.T) {
	for name, args := range map[string][]string{
		"kept":   {"--auth-token-ttl", "1"},
		"signed": {"--auth-token", "jwt,sign-method=HS256,priv-key={dir}/key,ttl=1s"},
	} {
		t.Run(name, func(t *testing.T) { expire(t, args) })
	}
}

func expire(t *testing.T, args []string) {
	server, root := guarded(t, args...)
	p := proxy(t, server.Addr)
	nodes := []*node{
		open(t, "a", as("app", conformance.Secret, p.Addr())),
		open(t, "b", as("app", conformance.Secret, server.Addr())),
	}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	_, lease := seatKey(t, root, nodes[0])
	stop := steadily(t, func() error { return agree(nodes...) })
	defer stop()
	for i := range 2 {
		idle := time.NewTimer(2500 * time.Millisecond)
		<-idle.C
		talk(t, fmt.Sprintf("after expiry %d", i), nodes...)
	}
	stop()
	for _, n := range nodes {
		if failures := n.metric(t, "alertmanager_cluster_messages_publish_failures_total"); failures > 0 {
			t.Errorf("%v messages could not be sent", failures)
		}
	}
	if _, now := seatKey(t, root, nodes[0]); now != lease {
		t.Errorf("the lease is %x, at first it was %x", now, lease)
	}
	p.Set(netfault.Refuse) // and while a node is away
	away := time.NewTimer(1500 * time.Millisecond)
	<-away.C
	p.Set(netfault.Pass)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	idle := time.NewTimer(2500 * time.Millisecond) // the lease is revoked with a token that has expired
	<-idle.C
	for _, n := range nodes {
		n.close(t)
	}
	if left := keysBelow(t, root, prefix); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// TestTokensForgotten restarts a server, which keeps its tokens in memory.
func TestTokensForgotten(t *testing.T) {
	server, _ := guarded(t)
	nodes := []*node{
		open(t, "a", as("app", conformance.Secret, proxy(t, server.Addr).Addr())),
		open(t, "b", as("app", conformance.Secret, proxy(t, server.Addr).Addr())),
	}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	server.Stop(t)
	server.Start(t)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	talk(t, "after", nodes...)
}

// TestWrongCredentials checks that they are refused, with what to do and
// without the password.
func TestWrongCredentials(t *testing.T) {
	server, root := guarded(t)
	for name, c := range map[string]struct {
		params map[string]string
		key    string
		hint   string
	}{
		"password":    {as("app", "not-"+conformance.Secret, server.Addr()), "password", "check also username"},
		"user":        {as("nobody", conformance.Secret, server.Addr()), "password", "check also username"},
		"no user":     {endpoints(server.Addr()), "username", "asks for a user"},
		"not allowed": {as("other", conformance.Secret, server.Addr()), "username", "grant-permission"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := tryOpen("a", c.params)
			if err == nil {
				n.close(t)
				t.Fatal("it is open")
			}
			text := err.Error()
			if !errors.Is(err, backend.ErrConfig) || !strings.Contains(text, c.key) || !strings.Contains(text, c.hint) {
				t.Errorf("%v: want ErrConfig with %q and %q", err, c.key, c.hint)
			}
			if strings.Contains(text+n.log.String(), conformance.Secret) {
				t.Errorf("the password shows in %q or\n%s", text, n.log)
			}
		})
	}
	t.Run("taken away later", func(t *testing.T) {
		n := open(t, "a", as("app", conformance.Secret, proxy(t, server.Addr).Addr()))
		testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })
		if _, err := root.UserRevokeRole(within(t), "app", "app"); err != nil {
			t.Fatal(err)
		}
		n.say("unheard")
		testkit.Eventually(t, 20*time.Second, func() error { return n.log.has("permission denied") })
		if _, err := root.UserGrantRole(within(t), "app", "app"); err != nil {
			t.Fatal(err)
		}
		other := open(t, "b", as("app", conformance.Secret, server.Addr()))
		testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(n, other), other.heard("unheard")) })
	})
	t.Run("a user where none is needed", func(t *testing.T) {
		if _, err := root.AuthDisable(context.Background()); err != nil {
			t.Fatal(err)
		}
		n := open(t, "a", as("app", conformance.Secret, server.Addr()))
		testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })
	})
}
