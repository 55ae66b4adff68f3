package redis_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

const slots = 16384

// newCluster starts a Redis Cluster of three masters with a replica each.
func newCluster(t *testing.T) []*process.Server {
	t.Helper()
	var all []*process.Server
	for range 6 {
		bus := process.Port(t)
		all = append(all, local(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", fmt.Sprint(bus), "--appendonly", "no"))
	}
	for i, s := range all {
		c := client(t, s.Addr())
		if i < 3 {
			do(t, c, "cluster", "addslotsrange", i*slots/3, (i+1)*slots/3-1)
		}
		do(t, c, "cluster", "set-config-epoch", i+1)
	}
	first := client(t, all[0].Addr())
	for _, s := range all[1:] {
		host, port, err := net.SplitHostPort(s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		bus := do(t, client(t, s.Addr()), "config", "get", "cluster-port")
		do(t, first, "cluster", "meet", host, port, configured(bus))
	}
	for i := range 3 {
		c, id := client(t, all[3+i].Addr()), do(t, client(t, all[i].Addr()), "cluster", "myid")
		testkit.Eventually(t, 20*time.Second, func() error { return c.Do(t.Context(), "cluster", "replicate", id).Err() })
	}
	for _, s := range all {
		c := client(t, s.Addr())
		testkit.Eventually(t, 20*time.Second, func() error {
			nodes, err := c.ClusterNodes(t.Context()).Result()
			if err == nil && (strings.Count(nodes, " master ")+strings.Count(nodes, "myself,master") != 3 || strings.Count(nodes, "slave") != 3) {
				err = fmt.Errorf("%s knows:\n%s", s.Addr(), nodes)
			}
			if info, e := c.ClusterInfo(t.Context()).Result(); err == nil && (e != nil || !strings.Contains(info, "cluster_state:ok")) {
				err = fmt.Errorf("%s: %s, %w", s.Addr(), info, e)
			}
			return err
		})
	}
	return all
}

// configured returns the value in an answer to CONFIG GET.
func configured(answer any) any {
	switch v := answer.(type) {
	case []any:
		return v[1]
	case map[any]any:
		for _, value := range v {
			return value
		}
	}
	return nil
}

// owner returns which of all owns slot.
func owner(t *testing.T, all []*process.Server, slot int64) int {
	t.Helper()
	for i, s := range all {
		nodes, err := client(t, s.Addr()).ClusterShards(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, shard := range nodes {
			owns := slices.ContainsFunc(shard.Slots, func(r goredis.SlotRange) bool { return r.Start <= slot && slot <= r.End })
			if owns && slices.ContainsFunc(shard.Nodes, func(n goredis.Node) bool {
				return n.Role == "master" && net.JoinHostPort(n.IP, fmt.Sprint(n.Port)) == s.Addr()
			}) {
				return i
			}
		}
	}
	t.Fatalf("nobody owns the slot %d", slot)
	return 0
}

// TestCluster moves the slot of the channel to another server, and then kills
// the one that nodes are subscribed at.
func TestCluster(t *testing.T) {
	all := newCluster(t)
	var addresses []string
	for _, s := range all[:3] {
		addresses = append(addresses, s.Addr())
	}
	p := map[string]string{"address": strings.Join(addresses, ","), "client_name": "node"}
	nodes := trio(t, p)
	// One server of the list is enough, and so is any server by itself: what is
	// published crosses the Cluster.
	nodes = append(nodes, open(t, "d", map[string]string{"address": all[1].Addr(), "mode": "cluster"}), open(t, "e", at(all[2])), open(t, "f", at(all[4])))
	agree(t, 5*time.Second, nodes...)
	nodes[0].set.add("across the Cluster")
	hold(t, 5*time.Second, 1, nodes...)

	sum := 0
	for _, s := range all {
		sum += connections(t, client(t, s.Addr()))
	}
	if most := 3 * (1 + 3); sum > most {
		t.Errorf("three nodes have %d connections, want at most %d: a subscription and one to each master, each", sum, most)
	}

	admin := client(t, all[0].Addr())
	slot := do(t, admin, "cluster", "keyslot", channelOf(t.Name())).(int64)
	from := owner(t, all, slot)
	to := (from + 1) % 3
	id := do(t, client(t, all[to].Addr()), "cluster", "myid")
	for _, s := range all[:3] {
		do(t, client(t, s.Addr()), "cluster", "setslot", slot, "node", id)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if now := owner(t, all, slot); now != to {
			return fmt.Errorf("the slot is at %d, want %d", now, to)
		}
		return nil
	})
	for _, n := range nodes {
		n.losses()
	}
	nodes[1].set.add("after the move of the slot")
	hold(t, 5*time.Second, 2, nodes...)
	for _, n := range nodes {
		if lost := n.losses(); len(lost) > 0 {
			t.Errorf("%s lost its link as the slot moved: %q", n.name, lost)
		}
	}

	crashed := all[from]
	crashed.Kill(t)
	nodes[2].set.add("with a server gone")
	testkit.Eventually(t, 30*time.Second, func() error {
		for _, n := range nodes[:3] { // the others may have lost the one server that they were given
			if v := n.View(); v.Status.String() != "attached" || n.set.len() != 3 {
				return fmt.Errorf("%s is %v with %d entries: %v", n.name, v.Status, n.set.len(), v.Err)
			}
		}
		return nil
	})
}

func TestClusterIsAskedFor(t *testing.T) {
	s := local(t)
	refused(t, map[string]string{"address": s.Addr(), "mode": "cluster"}, "mode", "no Redis Cluster")
	refused(t, map[string]string{"address": s.Addr(), "mode": "cluster", "master_name": "main"}, "master_name", "leave out one")
}
