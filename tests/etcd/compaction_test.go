package etcd_test

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestCompactionWhileAway compacts what a node has missed: one that left, one
// that came, and updates.
func TestCompactionWhileAway(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := admin(t, server.Addr())
	p := proxy(t, server.Addr)
	brief := func(c *backend.Config) { c.Timing.Grace = 3 * time.Second }
	a, b := open(t, "a", endpoints(p.Addr()), brief), open(t, "b", endpoints(server.Addr()))
	leaving := open(t, "leaving", endpoints(server.Addr()))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b, leaving) })
	talk(t, "before", a, b, leaving)

	p.Set(netfault.Refuse)
	testkit.Eventually(t, 20*time.Second, func() error { return a.status(backend.Detached) })
	leaving.close(t)
	coming := open(t, "coming", endpoints(server.Addr()))
	b.say("missed")
	testkit.Eventually(t, 20*time.Second, func() error { return coming.heard("missed") })
	r, err := client.Get(within(t), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(within(t), r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	p.Set(netfault.Pass)
	testkit.Eventually(t, 20*time.Second, func() error {
		return errors.Join(a.status(backend.Attached), a.heard("missed"))
	})
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b, coming) })
}
