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
	"github.com/clusterchannel/clusterchannel/backend/driver"
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
	t.Parallel()
	for name, args := range map[string][]string{
		"kept":   {"--auth-token-ttl", "1"},
		"signed": {"--auth-token", "jwt,sign-method=HS256,priv-key={dir}/key,ttl=1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expire(t, args)
		})
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
	t.Parallel()
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
	t.Parallel()
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
	t.Run("a user where none is needed", func(t *testing.T) {
		if _, err := root.AuthDisable(context.Background()); err != nil {
			t.Fatal(err)
		}
		n := open(t, "a", as("app", conformance.Secret, server.Addr()))
		testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })
	})
}

// right is one of a role.
type right struct {
	kind  clientv3.PermissionType
	below string // the prefix of keys
}

const root = prefix + cluster + "/"

// TestRights opens nodes with roles that lack one right, each of which is found at
// once, by its name and that of the key.
func TestRights(t *testing.T) {
	t.Parallel()
	server, admin := guarded(t)
	for name, c := range map[string]struct {
		rights []right
		says   string
	}{
		"none":          {nil, "may not read " + root + "members/"},
		"to write only": {[]right{{clientv3.PermissionType(clientv3.PermWrite), prefix}}, "may not read " + root + "members/"},
		"to read only":  {[]right{{clientv3.PermissionType(clientv3.PermRead), prefix}}, "may not write " + root + "members/"},
		"no frames":     {[]right{{clientv3.PermissionType(clientv3.PermRead), prefix}, {clientv3.PermissionType(clientv3.PermReadWrite), root + "members/"}}, "may not write " + root + "frames/"},
		"no members":    {[]right{{clientv3.PermissionType(clientv3.PermRead), prefix}, {clientv3.PermissionType(clientv3.PermReadWrite), root + "frames/"}}, "may not write " + root + "members/"},
		"none to send to one": {[]right{
			{clientv3.PermissionType(clientv3.PermRead), prefix}, {clientv3.PermissionType(clientv3.PermReadWrite), root + "members/"},
			{clientv3.PermissionType(clientv3.PermReadWrite), root + "frames/"},
		}, "may not write " + root + "to/"},
		"not to watch both": {[]right{{clientv3.PermissionType(clientv3.PermReadWrite), root + "members/"}, {clientv3.PermissionType(clientv3.PermReadWrite), root + "frames/"}, {clientv3.PermissionType(clientv3.PermReadWrite), root + "to/"}}, "may not read " + root + "*"},
	} {
		t.Run(name, func(t *testing.T) {
			addUser(t, admin, name, c.rights)
			n, err := tryOpen("a", as(name, conformance.Secret, server.Addr()))
			if err == nil {
				n.close(t)
				t.Fatal("it is open")
			}
			all := examine(t, as(name, conformance.Secret, server.Addr()))
			if finding := all[len(all)-1]; finding.Status != driver.Fail || !strings.Contains(finding.Got, c.says) {
				t.Errorf("the doctor ends with %+v, want it to say %q", finding, c.says)
			}
			if text := err.Error(); !errors.Is(err, backend.ErrConfig) || !strings.Contains(text, "username") || !strings.Contains(text, c.says) || !strings.Contains(text, "grant-permission") {
				t.Errorf("%v: want ErrConfig that says %q", err, c.says)
			}
		})
	}
	if left := keysBelow(t, admin, prefix); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// addUser adds a user who has those rights.
func addUser(t *testing.T, admin *clientv3.Client, name string, rights []right) {
	t.Helper()
	_, err := admin.UserAdd(within(t), name, conformance.Secret)
	if err == nil {
		_, err = admin.RoleAdd(within(t), name)
	}
	for _, r := range rights {
		if err == nil {
			_, err = admin.RoleGrantPermission(within(t), name, r.below, clientv3.GetPrefixRangeEnd(r.below), r.kind)
		}
	}
	if err == nil {
		_, err = admin.UserGrantRole(within(t), name, name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRightsTakenAway takes rights from nodes that are attached. They are told at
// the first use, and come back when the rights do.
func TestRightsTakenAway(t *testing.T) {
	t.Parallel()
	server, admin := guarded(t)
	all := right{clientv3.PermissionType(clientv3.PermReadWrite), prefix}
	addUser(t, admin, "node", []right{all})
	nodes := []*node{open(t, "a", as("node", conformance.Secret, server.Addr())), open(t, "b", as("node", conformance.Secret, server.Addr()))}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	grant := func(r right) {
		t.Helper()
		if _, err := admin.RoleGrantPermission(within(t), "node", r.below, clientv3.GetPrefixRangeEnd(r.below), r.kind); err != nil {
			t.Fatal(err)
		}
	}
	grant(right{clientv3.PermissionType(clientv3.PermRead), prefix})
	nodes[0].say("unheard")
	// Which key is refused first depends on whether it was attached anew meanwhile, as
	// etcd ends what was authorised by the rights before.
	testkit.Eventually(t, 20*time.Second, func() error { return nodes[0].detached("may not write " + root) })
	grant(all)
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes...), nodes[1].heard("unheard")) })

	if _, err := admin.UserRevokeRole(within(t), "node", "node"); err != nil {
		t.Fatal(err)
	}
	nodes[1].say("unheard too")
	testkit.Eventually(t, 20*time.Second, func() error { return nodes[1].detached("may not read " + root + "members/") })
	if _, err := admin.UserGrantRole(within(t), "node", "node"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes...), nodes[0].heard("unheard too")) })
}
