package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestFootprint counts what nodes have on a server.
func TestFootprint(t *testing.T) {
	s := servers.Start(t, servers.Redis(), servers.Options{})
	p := address(s)
	p["client_name"] = "node"
	nodes := trio(t, p)
	for i := range 200 {
		nodes[i%3].set.add(fmt.Sprint("entry ", i))
	}
	hold(t, 5*time.Second, 200, nodes...)
	c := client(t, s.Addr())
	if n := connections(t, c); n != 6 {
		t.Errorf("three nodes have %d connections, want two each", n)
	}
	channels, err := c.PubSubChannels(t.Context(), "*").Result()
	if err != nil || len(channels) != 4 {
		t.Errorf("three nodes have the channels %q, %v; want the cluster's and one each", channels, err)
	}
	if keys, err := c.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("there are the keys %q, %v; want none", keys, err)
	}
	stats, err := c.Info(t.Context(), "commandstats").Result()
	if err != nil || strings.Contains(stats, "cmdstat_scan") {
		t.Errorf("SCAN was used, or: %v", err)
	}
}

// TestPrefix keeps clusters of one name apart, but not those whose prefixes
// differ by the colon alone.
func TestPrefix(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, servers.Redis(), servers.Options{})
	with := func(prefix string) map[string]string { return map[string]string{"address": s.Addr(), "prefix": prefix} }
	a, b := open(t, "a", with("one")), open(t, "b", with("one:"))
	others := []*member{open(t, "c", with("on")), open(t, "d", with("one:x")), open(t, "e", with("")), open(t, "f", address(s))}
	agree(t, 5*time.Second, a, b)
	a.set.add("ours")
	hold(t, 5*time.Second, 1, a, b)
	for _, n := range others {
		agree(t, 5*time.Second, n)
		hold(t, 0, 0, n)
	}
}

// TestURL opens a node by a URL, and one by the same parameters.
func TestURL(t *testing.T) {
	t.Parallel()
	s := withUser(t, least)
	channel, err := backend.OpenURL(t.Context(), fmt.Sprintf("redis://node:%s@%s/0?cluster=%s&name=a", secret, s.Addr(), t.Name()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := channel.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	b := open(t, "b", asUser(s))
	testkit.Eventually(t, 20*time.Second, func() error {
		if len(channel.View().Members) != 2 || len(b.View().Members) != 2 {
			return errors.New("the two do not meet")
		}
		return nil
	})
	_, err = backend.OpenURL(t.Context(), "rediss://127.0.0.1:1?cluster=c&tls=false")
	if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), "tls") {
		t.Errorf("rediss without TLS: %v, want ErrConfig that names tls", err)
	}
}

// TestClusterNameIsRequired: a server is shared.
func TestClusterNameIsRequired(t *testing.T) {
	t.Parallel()
	refusedBy(t, backend.ErrConfig, map[string]string{"address": "127.0.0.1:1"}, func(c *backend.Config) { c.Cluster = "" }, "cluster")
}
