package etcd_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestQuota fills the server. Members stay members, even across a loss of the
// link; what is lost is counted, and logged with what to do.
func TestQuota(t *testing.T) {
	t.Parallel()
	server := start(t, "--quota-backend-bytes", "4194304")
	client := admin(t, server.Addr())
	p := proxy(t, server.Addr)
	nodes := []*node{open(t, "a", endpoints(p.Addr())), open(t, "b", endpoints(server.Addr()))}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	stop := steadily(t, func() error { return errors.Join(nodes[0].sees("a", "b"), nodes[1].sees("a", "b")) })
	defer stop()

	fill := strings.Repeat("x", 1<<20)
	for i := 0; ; i++ {
		_, err := client.Put(within(t), "fill", fill)
		if errors.Is(err, rpctypes.ErrNoSpace) {
			break
		}
		if err != nil || i > 100 {
			t.Fatalf("put %d: %v", i, err)
		}
	}
	nodes[0].say("refused")
	testkit.Eventually(t, 20*time.Second, func() error {
		if nodes[0].metric(t, "alertmanager_cluster_messages_publish_failures_total") == 0 {
			return errors.New("nothing is counted")
		}
		return errors.Join(nodes[0].log.has("etcdctl defrag"), nodes[0].log.has("level=ERROR"))
	})
	p.Set(netfault.Refuse)
	p.Set(netfault.Pass)
	testkit.Eventually(t, 20*time.Second, func() error {
		if nodes[0].metric(t, "alertmanager_cluster_reconnections_total") == 0 {
			return errors.New("the link was not lost")
		}
		return agree(nodes...)
	})
	late := open(t, "late", endpoints(server.Addr()))
	testkit.Eventually(t, 20*time.Second, func() error { return late.detached("alarm disarm") })
	stop()

	makeRoom(t, client, server.Addr())
	talk(t, "with room", nodes...)
	testkit.Eventually(t, 20*time.Second, func() error {
		return errors.Join(agree(nodes[0], nodes[1], late), nodes[1].heard("refused"), late.heard("refused"), nodes[0].log.has("has room again"))
	})
}

// makeRoom is what the operator of an etcd without space does.
func makeRoom(t testing.TB, c *clientv3.Client, addr string) {
	t.Helper()
	if _, err := c.Delete(within(t), "fill"); err != nil {
		t.Fatal(err)
	}
	r, err := c.Get(within(t), "fill")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(within(t), r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Defragment(within(t), addr); err != nil {
		t.Fatal(err)
	}
	alarms, err := c.AlarmList(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alarms.Alarms {
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE {
			if _, err := c.AlarmDisarm(within(t), (*clientv3.AlarmMember)(a)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRequestLimit uses a server whose limit is below max_frame.
func TestRequestLimit(t *testing.T) {
	t.Parallel()
	server := start(t, "--max-request-bytes", "32768")
	big := strings.Repeat("x", 100<<10)

	wrong := open(t, "wrong", endpoints(server.Addr()))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(wrong) })
	wrong.say(big)
	testkit.Eventually(t, 20*time.Second, func() error { return wrong.log.has("lower max_frame") })
	wrong.close(t)

	params := endpoints(server.Addr())
	params["max_frame"] = "28KiB"
	nodes := []*node{open(t, "a", params), open(t, "b", params)}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	talk(t, big, nodes...)
}
