package redis_test

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/tests/findings"
)

const (
	slots = 16384

	// nodeTimeout is Redis's default: as long as that a Cluster does without a master
	// that has crashed.
	nodeTimeout = 15 * time.Second
)

// newCluster starts a Redis Cluster of three masters with a replica each.
func newCluster(t *testing.T) []*process.Server {
	t.Helper()
	var all []*process.Server
	for range 6 {
		bus := process.Port(t)
		all = append(all, local(t, "--cluster-enabled", "yes", "--cluster-node-timeout", fmt.Sprint(nodeTimeout.Milliseconds()), "--cluster-port", fmt.Sprint(bus), "--appendonly", "no"))
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

// TestCluster moves the slot of the channel to another server, and fails a master
// over.
func TestCluster(t *testing.T) {
	t.Parallel()
	all := newCluster(t)
	p := map[string]string{"address": strings.Join([]string{all[0].Addr(), all[1].Addr(), all[2].Addr()}, ","), "client_name": "node"}
	nodes := trio(t, p)
	// One server of the list is enough, and so is any server by itself: what is
	// published crosses the Cluster.
	nodes = append(nodes, open(t, "d", map[string]string{"address": all[1].Addr(), "mode": "cluster"}), open(t, "e", at(all[2])), open(t, "f", at(all[4])))
	agree(t, 5*time.Second, nodes...)
	nodes[0].set.add("across the Cluster")
	hold(t, 5*time.Second, 1, nodes...)

	for _, s := range all {
		do(t, client(t, s.Addr()), append([]any{"acl", "setuser", "node", "on", ">" + secret}, words(least)...)...)
	}
	nodes = append(nodes, open(t, "g", map[string]string{"address": p["address"], "username": "node", "password": secret}))
	agree(t, 5*time.Second, nodes...)

	examine(t, map[string]string{"address": p["address"], "username": "node", "password": secret}).Say(t, "cluster", driver.Warn, "must not ask")
	examine(t, map[string]string{"address": all[0].Addr(), "mode": "cluster"}).Say(t, "cluster", driver.Warn, "list others")

	sum := 0
	for _, s := range all {
		sum += connections(t, client(t, s.Addr()))
	}
	if sum != 3*2 {
		t.Errorf("three nodes have %d connections, want a subscription and one for commands, each", sum)
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

	do(t, client(t, all[3+to].Addr()), "cluster", "failover", "takeover")
	testkit.Eventually(t, 20*time.Second, func() error {
		if now := owner(t, all, int64(to*slots/3)); now != 3+to { // the replica may not know of the other slot
			return fmt.Errorf("the master's first slot is at %d, want it at the replica %d", now, 3+to)
		}
		return nil
	})
	nodes[2].set.add("after the failover")
	hold(t, 5*time.Second, 3, nodes...)
	for _, n := range nodes {
		if lost := n.losses(); len(lost) > 0 {
			t.Errorf("%s lost its link as the slot moved: %q", n.name, lost)
		}
	}
}

// TestClusterLosesAServer takes away the server at which all nodes are: it
// crashes, or it is taken out of the Cluster and lives on. They are at another
// one long before the Cluster has noticed. On Grafana's wire a node's key may be
// at the master that has crashed; its frames go on without it.
func TestClusterLosesAServer(t *testing.T) {
	t.Parallel()
	reset := func(s *process.Server) { do(t, client(t, s.Addr()), "cluster", "reset", "hard") }
	crash := func(s *process.Server) { s.Kill(t) }
	for _, c := range []struct {
		what    string
		finding string // of the doctor
		take    func(s *process.Server)
		params  map[string]string
	}{
		{"taken out", "cluster", reset, wires["native"]},
		{"crashed", "tcp", crash, wires["native"]},
		{"crashed, Grafana's wire", "tcp", crash, wires["grafana"]},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			all := newCluster(t)
			lost, rest := all[0], all[1:]
			spare, err := netfault.Listen(rest[0].Addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = spare.Close() })
			spare.Set(netfault.Refuse) // so that all nodes are at the one that is to be lost
			params := map[string]string{"address": lost.Addr() + "," + spare.Addr(), "client_name": "node"}
			maps.Copy(params, c.params)
			nodes := trio(t, params)
			if n := subscribers(t, client(t, lost.Addr())); n != 3 {
				t.Fatalf("%d nodes are subscribed at the server, want three", n)
			}
			spare.Set(netfault.Pass)
			began := time.Now()
			c.take(lost)
			detached(t, 10*time.Second, nodes...)
			nodes[0].set.add("with a server gone")
			agree(t, 10*time.Second, nodes...)
			hold(t, 10*time.Second, 1, nodes...)
			t.Logf("whole again after %v: %q", time.Since(began).Round(time.Millisecond), nodes[0].losses())
			if info, err := client(t, rest[0].Addr()).ClusterNodes(t.Context()).Result(); err != nil || strings.Contains(info, ",fail ") {
				t.Errorf("the Cluster has noticed before: %v\n%s", err, info)
			}
			list := map[string]string{"address": lost.Addr() + "," + rest[0].Addr()}
			examine(t, list).Say(t, c.finding, driver.Fail, lost.Addr())
			examine(t, list).Say(t, "cluster", driver.OK, rest[0].Addr())
		})
	}
}

// subscribers counts the nodes that are subscribed at a server.
func subscribers(t testing.TB, c *goredis.Client) (n int) {
	t.Helper()
	for line := range strings.Lines(do(t, c, "client", "list", "type", "pubsub").(string)) {
		if strings.Contains(line, "name=node ") {
			n++
		}
	}
	return n
}

// TestClusterExamined lets the doctor look at a Cluster that is whole, while a slot
// moves, when a master is lost for good, and at servers of two Clusters.
func TestClusterExamined(t *testing.T) {
	t.Parallel()
	all := newCluster(t)
	addresses := strings.Join([]string{all[0].Addr(), all[1].Addr(), all[2].Addr()}, ",")
	for _, wire := range wires {
		params := map[string]string{"address": addresses}
		maps.Copy(params, wire)
		for _, s := range all[:3] {
			examine(t, params).Say(t, "slots", driver.OK, "at "+s.Addr())
			examine(t, params).Say(t, "cluster", driver.OK, "publish at "+s.Addr())
		}
	}
	params := map[string]string{"address": addresses}

	do(t, client(t, all[0].Addr()), "cluster", "setslot", 0, "migrating", do(t, client(t, all[1].Addr()), "cluster", "myid"))
	examine(t, params).Say(t, "slots", driver.Warn, "1 are on the move")
	do(t, client(t, all[0].Addr()), "cluster", "setslot", 0, "stable")

	lone := local(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(process.Port(t)), "--appendonly", "no")
	do(t, client(t, lone.Addr()), "cluster", "addslotsrange", 0, slots-2)
	others := map[string]string{"address": all[0].Addr() + "," + lone.Addr()}
	examine(t, others).Say(t, "cluster", driver.Fail, "CLUSTER NODES at each")
	examine(t, others).Say(t, "slots", driver.Warn, "1 are nobody's")

	for _, s := range all {
		do(t, client(t, s.Addr()), "config", "set", "cluster-node-timeout", 500)
	}
	all[2].Kill(t)
	all[5].Kill(t) // its replica
	testkit.Eventually(t, 20*time.Second, func() error {
		if nodes, err := client(t, all[0].Addr()).ClusterNodes(t.Context()).Result(); err != nil || !strings.Contains(nodes, "master,fail") {
			return fmt.Errorf("%w, it knows:\n%s", err, nodes)
		}
		return nil
	})
	examine(t, params).Say(t, "slots", driver.Warn, "lost: "+all[2].Addr())
}

func TestClusterIsAskedFor(t *testing.T) {
	t.Parallel()
	s := local(t)
	refused(t, map[string]string{"address": s.Addr(), "mode": "cluster"}, "mode", "no Redis Cluster")
	refused(t, map[string]string{"address": s.Addr(), "mode": "cluster", "master_name": "main"}, "master_name", "leave out one")
}

// examine lets the doctor examine a node.
func examine(t *testing.T, params map[string]string) findings.All {
	t.Helper()
	return findings.Examine(t, "redis", driver.Options{Cluster: t.Name(), Params: params})
}
