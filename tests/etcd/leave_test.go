package etcd_test

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestLeaveIsSaid has a member say that it leaves, as a node does before it revokes
// its lease. It goes from the list while its key is still there, and has not failed;
// who joins then does not see it.
func TestLeaveIsSaid(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := admin(t, server.Addr())
	nodes := []*node{open(t, "a", endpoints(server.Addr()))}
	lease, err := client.Grant(within(t), 300)
	if err != nil {
		t.Fatal(err)
	}
	const instance = "zzzzzzzzzzzzz"
	key := prefix + cluster + "/members/" + instance
	say := func(more string) {
		t.Helper()
		value := fmt.Sprintf(`{"name":"z","instance":%q%s}`, instance, more)
		if _, err := client.Put(within(t), key, value, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	say("")
	testkit.Eventually(t, 20*time.Second, func() error { return nodes[0].sees("a", "z") })
	say(`,"leaving":true`)
	testkit.Eventually(t, 20*time.Second, func() error { return nodes[0].sees("a") })
	if failed := nodes[0].metric(t, "clusterchannel_members_failed_total"); failed != 0 {
		t.Errorf("%v members are counted as failed, and it said that it leaves", failed)
	}
	nodes = append(nodes, open(t, "b", endpoints(server.Addr())))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	if r, err := client.Get(within(t), key); err != nil || len(r.Kvs) != 1 {
		t.Errorf("the key of the one that leaves should be there for all of this: %v, %v", r, err)
	}
	watch := client.Watch(t.Context(), prefix+cluster+"/members/"+nodes[0].View().Self().Instance, clientv3.WithCreatedNotify())
	<-watch
	nodes[0].Close(t.Context()) //nolint:errcheck // looked at by other tests
	select {
	case r := <-watch:
		if len(r.Events) == 0 || r.Events[0].Type != clientv3.EventTypePut {
			t.Errorf("a node that closes does not say so before its key goes: %v", r.Events)
		}
	case <-time.After(20 * time.Second):
		t.Error("a node that closes says nothing")
	}
}
