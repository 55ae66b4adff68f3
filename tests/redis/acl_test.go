package redis_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// withUser starts a server with a user "node" that has these rights.
func withUser(t *testing.T, rights string) *servers.Server {
	t.Helper()
	s := servers.Start(t, servers.Redis(), servers.Options{})
	setUser(t, s, "resetpass", ">"+secret, rights)
	return s
}

func setUser(t *testing.T, s *servers.Server, rules ...string) {
	t.Helper()
	args := []any{"acl", "setuser", "node", "on"}
	for _, rule := range rules {
		args = append(args, words(rule)...)
	}
	do(t, client(t, s.Addr()), args...)
}

func words(text string) (all []any) {
	for word := range strings.FieldsSeq(text) {
		all = append(all, word)
	}
	return all
}

// least is what the documentation says that a node needs.
const least = "resetchannels &clusterchannel:* +subscribe +publish"

func asUser(s *servers.Server) map[string]string {
	return map[string]string{"address": s.Addr(), "username": "node", "password": secret}
}

func TestLeastRights(t *testing.T) {
	t.Parallel()
	s := withUser(t, least)
	nodes := trio(t, asUser(s))
	nodes[0].set.add("with the least rights")
	hold(t, 5*time.Second, 1, nodes...)
}

func TestRefusedByACL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rights string
		says   []string
	}{
		{"resetchannels &clusterchannel:* +publish", []string{"username", "SUBSCRIBE", "NOPERM", "ACL SETUSER", "+subscribe"}},
		{"resetchannels &clusterchannel:* +subscribe", []string{"username", "PUBLISH", "NOPERM", "ACL SETUSER", "+publish"}},
		{"resetchannels &other:* +subscribe +publish", []string{"username", "NOPERM", "&clusterchannel:*"}},
	} {
		s := withUser(t, c.rights)
		refused(t, asUser(s), c.says...)
	}
	s := withUser(t, least)
	with := func(key, value string) map[string]string {
		p := asUser(s)
		p[key] = value
		return p
	}
	refused(t, with("client_name", "node-a"), "client_name", "setname")
	refused(t, with("password", "wrong"), "password", "WRONGPASS")
	refused(t, with("username", "nobody"), "password", "username")
	refused(t, with("db", "1"), "db", "+select")

	closed := servers.Start(t, servers.Redis(), servers.Options{Args: []string{"--requirepass", secret}})
	refused(t, address(closed), "password", "NOAUTH")
	refused(t, map[string]string{"address": closed.Addr(), "password": "wrong"}, "password")
	opened := servers.Start(t, servers.Redis(), servers.Options{})
	refused(t, map[string]string{"address": opened.Addr(), "db": "99"}, "db", "no such database")
}

// TestRightsChange removes rights of attached nodes, and restores them.
func TestRightsChange(t *testing.T) {
	t.Parallel()
	s := withUser(t, least)
	nodes := trio(t, asUser(s))
	for i, step := range []struct{ take, says, give string }{
		{"-publish", "PUBLISH", "+publish"},
		{"resetchannels", "SUBSCRIBE", "&clusterchannel:*"},
		{"off", "password", "on"},
	} {
		setUser(t, s, step.take)
		do(t, client(t, s.Addr()), "client", "kill", "user", "node", "skipme", "yes")
		nodes[0].set.add("without the right " + step.take)
		testkit.Eventually(t, 20*time.Second, func() error {
			for _, n := range nodes {
				v := n.View()
				if v.Status != backend.Detached || v.Err == nil || !strings.Contains(v.Err.Error(), step.says) {
					return errors.New(n.name + " does not say " + step.says)
				}
			}
			return nil
		})
		setUser(t, s, step.give)
		agree(t, 5*time.Second, nodes...)
		hold(t, 5*time.Second, i+1, nodes...)
	}
	for _, n := range nodes {
		if strings.Contains(n.logs.String(), secret) {
			t.Errorf("%s logs a secret", n.name)
		}
	}
}

// TestRightTakenQuietly takes the right to publish away and ends no connection.
func TestRightTakenQuietly(t *testing.T) {
	t.Parallel()
	s := withUser(t, least)
	nodes := trio(t, asUser(s))
	setUser(t, s, "-publish")
	nodes[1].set.add("without the right")
	detached(t, 5*time.Second, nodes...)
	setUser(t, s, "+publish")
	agree(t, 5*time.Second, nodes...)
	hold(t, 5*time.Second, 1, nodes...)
}

// TestCredentials lets a service supply passwords that change.
func TestCredentials(t *testing.T) {
	t.Parallel()
	s := withUser(t, least)
	var password atomic.Value
	password.Store(secret)
	open := redis.WithCredentials(func(context.Context) (string, string, error) {
		if p := password.Load().(string); p != "" {
			return "node", p, nil
		}
		return "", "", errors.New("the issuer of tokens is away")
	})
	supplied := func(c *backend.Config) { c.Driver = open }
	nodes := trio(t, address(s), supplied)

	setUser(t, s, "resetpass >second-"+secret)
	password.Store("second-" + secret)
	do(t, client(t, s.Addr()), "client", "kill", "user", "node")
	nodes[0].set.add("with the second password")
	detached(t, 5*time.Second, nodes...)
	agree(t, 5*time.Second, nodes...)
	hold(t, 5*time.Second, 1, nodes...)

	refusedBy(t, driver.ErrConfig, map[string]string{"address": s.Addr(), "password": secret}, supplied, "password")
	password.Store("")
	refusedBy(t, driver.ErrUnavailable, address(s), supplied, "the issuer of tokens is away")
}
