package etcd_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// seatKey returns the key of a member, and its lease.
func seatKey(t testing.TB, c *clientv3.Client, n *node) (key string, lease clientv3.LeaseID) {
	t.Helper()
	key = prefix + cluster + "/members/" + n.View().Self().Instance
	r, err := c.Get(within(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) == 0 {
		return key, 0
	}
	return key, clientv3.LeaseID(r.Kvs[0].Lease)
}

// TestSeatTakenAway makes an operator delete a node's key, or its lease, or all
// that the cluster has stored. The node writes it again, and reports it. To the
// other one it was never away, but where that took longer than a member whose key
// has gone stays.
func TestSeatTakenAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		take  func(t testing.TB, c *clientv3.Client, key string, lease clientv3.LeaseID) error
		tells string
	}{
		"lease revoked": {func(t testing.TB, c *clientv3.Client, _ string, lease clientv3.LeaseID) error {
			_, err := c.Revoke(within(t), lease)
			return err
		}, "changed this node's key"},
		"key deleted": {func(t testing.TB, c *clientv3.Client, key string, _ clientv3.LeaseID) error {
			_, err := c.Delete(within(t), key)
			return err
		}, "changed this node's key"},
		"key overwritten": {func(t testing.TB, c *clientv3.Client, key string, lease clientv3.LeaseID) error {
			_, err := c.Put(within(t), key, "junk", clientv3.WithLease(lease))
			return err
		}, "changed this node's key"},
		"key without its lease": {func(t testing.TB, c *clientv3.Client, key string, _ clientv3.LeaseID) error {
			r, err := c.Get(within(t), key)
			if err != nil {
				return err
			}
			_, err = c.Put(within(t), key, string(r.Kvs[0].Value))
			return err
		}, "changed this node's key"},
		"store emptied": {func(t testing.TB, c *clientv3.Client, _ string, _ clientv3.LeaseID) error {
			_, err := c.Delete(within(t), prefix, clientv3.WithPrefix())
			return err
		}, "changed this node's key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			client := admin(t, server.Addr())
			nodes := []*node{open(t, "a", endpoints(server.Addr())), open(t, "b", endpoints(server.Addr()))}
			testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
			talk(t, "before", nodes...)
			key, before := seatKey(t, client, nodes[0])
			began := nodes[0].metric(t, "alertmanager_cluster_reconnections_total")
			away := absence(t, client, key, before)
			if err := c.take(t, client, key, before); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, 20*time.Second, func() error {
				_, lease := seatKey(t, client, nodes[0])
				if lease != before { // its number is the node's
					return fmt.Errorf("the lease of %s is %x, before %x", key, lease, before)
				}
				if nodes[0].metric(t, "alertmanager_cluster_reconnections_total") == began {
					return errors.New("the link was not told to be lost")
				}
				return errors.Join(agree(nodes...), nodes[0].log.has(c.tells))
			})
			talk(t, "after", nodes...)
			if away := away(); away > 300*time.Millisecond {
				t.Logf("the node was away for %v: the machine is busy", away)
			} else if failed := nodes[1].metric(t, "clusterchannel_members_failed_total"); failed != 0 {
				t.Errorf("the other node counts %v members as failed, though the key was away for %v", failed, away)
			}
		})
	}
}

// absence returns a function that waits until the key has been away and is back under
// its lease, and returns how long that took.
func absence(t testing.TB, c *clientv3.Client, key string, lease clientv3.LeaseID) func() time.Duration {
	t.Helper()
	events := c.Watch(t.Context(), key, clientv3.WithCreatedNotify())
	<-events
	away := make(chan time.Duration, 1)
	go func() {
		var gone time.Time
		for r := range events {
			for _, ev := range r.Events {
				member := ev.Type == clientv3.EventTypePut && ev.Kv.Lease == int64(lease) && string(ev.Kv.Value) != "junk"
				switch {
				case !member && gone.IsZero():
					gone = time.Now()
				case member:
					away <- time.Since(gone)
					return
				}
			}
		}
	}()
	return func() time.Duration {
		select {
		case d := <-away:
			return d
		case <-time.After(20 * time.Second):
			t.Errorf("%s did not go and come back", key)
			return 0
		}
	}
}

// TestLeaseExpires cuts a node off for longer than its lease.
func TestLeaseExpires(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := admin(t, server.Addr())
	p := proxy(t, server.Addr)
	nodes := []*node{open(t, "a", endpoints(p.Addr())), open(t, "b", endpoints(server.Addr()))}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	_, before := seatKey(t, client, nodes[0])
	p.Set(netfault.Swallow)
	testkit.Eventually(t, 20*time.Second, func() error { return nodes[1].sees("b") })
	if err := errors.Join(nodes[0].sees("a", "b"), nodes[0].status(backend.Detached)); err != nil {
		t.Errorf("the node that is cut off: %v", err)
	}
	if failed := nodes[1].metric(t, "clusterchannel_members_failed_total"); failed != 1 {
		t.Errorf("%v members are counted as failed, want 1", failed)
	}
	nodes[0].say("a")
	nodes[1].say("b")
	p.Set(netfault.Pass)
	testkit.Eventually(t, 20*time.Second, func() error {
		return errors.Join(agree(nodes...), nodes[0].heard("b"), nodes[1].heard("a"))
	})
	if _, after := seatKey(t, client, nodes[0]); after != before {
		t.Errorf("the lease that was granted again is %x, before %x", after, before)
	}
}

// TestKilledNodeLeavesNothing reads the store once the lease has expired.
func TestKilledNodeLeavesNothing(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := admin(t, server.Addr())
	p := proxy(t, server.Addr)
	n := open(t, "a", endpoints(p.Addr()))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })
	n.say("something")
	testkit.Eventually(t, 20*time.Second, func() error {
		if keys := keysBelow(t, client, prefix+cluster+"/"); len(keys) != 2 {
			return fmt.Errorf("stored are %v", keys)
		}
		return nil
	})
	p.Set(netfault.Refuse)
	n.close(t)
	testkit.Eventually(t, 20*time.Second, func() error {
		if keys, held := keysBelow(t, client, prefix), leases(t, client); len(keys)+len(held) > 0 {
			return fmt.Errorf("left are %v, %v", keys, held)
		}
		return nil
	})
}

// TestReconnects loses the link again and again. The lease stays, and nothing
// grows. A link that is lost as soon as it is there is opened again after a second.
func TestReconnects(t *testing.T) {
	server := start(t)
	client := admin(t, server.Addr())
	p := proxy(t, server.Addr)
	patient := func(addr string) map[string]string {
		params := endpoints(addr)
		params["lease_ttl"] = "10s" // a machine that is so busy loses no member for it
		return params
	}
	nodes := []*node{open(t, "a", patient(p.Addr())), open(t, "b", patient(server.Addr()))}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	talk(t, "before", nodes...)
	_, lease := seatKey(t, client, nodes[0])
	goroutines := runtime.NumGoroutine()
	stop := steadily(t, func() error { return errors.Join(nodes[0].sees("a", "b"), nodes[1].sees("a", "b")) })
	defer stop()
	const rounds = 10 // a goroutine left behind by each would show
	for range rounds {
		lost := nodes[0].metric(t, "alertmanager_cluster_reconnections_total")
		p.Set(netfault.Refuse)
		p.Set(netfault.Pass)
		testkit.Eventually(t, 20*time.Second, func() error {
			if nodes[0].metric(t, "alertmanager_cluster_reconnections_total") == lost {
				return errors.New("the link was not lost")
			}
			return nodes[0].status(backend.Attached)
		})
	}
	talk(t, "after", nodes...)
	stop()
	if held := leases(t, client); len(held) != 2 {
		t.Errorf("there are %d leases for two nodes", len(held))
	}
	if _, now := seatKey(t, client, nodes[0]); now != lease {
		t.Errorf("the lease is %x, at first it was %x", now, lease)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if now := runtime.NumGoroutine(); now > goroutines+5 {
			return fmt.Errorf("%d goroutines, before %d", now, goroutines)
		}
		return nil
	})
}

// TestStrangersKeys puts there what is foreign.
func TestStrangersKeys(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := admin(t, server.Addr())
	strange := map[string]string{
		"members/early":   `{"name":"early","instance":"early"}`, // without a lease
		"members/x":       "junk",
		"members/another": `{"name":"x","instance":"y"}`,
		"members/unnamed": `{"instance":"unnamed"}`,
		"members/a/b":     `{"name":"x","instance":"b"}`,
		"other/x":         "x",
		"members/":        `{"name":"x"}`,
		"config":          "x",
	}
	grant, err := client.Grant(within(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	write := func(key string) {
		var opts []clientv3.OpOption
		if !strings.HasSuffix(key, "early") {
			opts = append(opts, clientv3.WithLease(grant.ID))
		}
		put(t, client, prefix+cluster+"/"+key, strange[key], opts...)
	}
	write("members/early")
	n := open(t, "a", endpoints(server.Addr()))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })
	for key := range strange {
		write(key)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if count := n.metric(t, "clusterchannel_frames_rejected_total"); count < float64(len(strange)+1) {
			return fmt.Errorf("%v are counted, want %d", count, len(strange)+1)
		}
		return errors.Join(n.sees("a"), n.log.has("is foreign"))
	})
	n.close(t)
	if left := keysBelow(t, client, prefix); len(left) != len(strange) {
		t.Errorf("of %d keys of strangers there are %v", len(strange), left)
	}
}
