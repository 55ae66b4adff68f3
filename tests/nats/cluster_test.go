package nats_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// trio is a cluster of three servers. Every route between two of them passes a
// proxy: what the servers tell each other of their addresses leads nowhere.
type trio struct {
	servers [3]*local
	routes  map[[2]int]*netfault.Proxy // from the first server to the second
}

func startTrio(t *testing.T) *trio {
	t.Helper()
	c := &trio{routes: map[[2]int]*netfault.Proxy{}}
	var ports [3]int
	for to := range ports {
		ports[to] = process.Port(t)
		addr := fmt.Sprintf("127.0.0.1:%d", ports[to])
		for from := range to {
			p, err := netfault.Listen(func() string { return addr })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close() })
			c.routes[[2]int{from, to}] = p
		}
	}
	for i := 2; i >= 0; i-- { // those that are dialled first
		var urls []string
		for to := i + 1; to < 3; to++ {
			urls = append(urls, `"nats://`+c.routes[[2]int{i, to}].Addr()+`"`)
		}
		c.servers[i] = startLocal(t, base+fmt.Sprintf(`
lame_duck_duration: 30s
lame_duck_grace_period: 100ms
cluster { name: trio, listen: "127.0.0.1:%d", advertise: "127.0.0.1:1", no_advertise: true, routes: [%s] }`, ports[i], strings.Join(urls, ", ")))
	}
	c.meshed(t)
	return c
}

// meshed waits until each server hears the others.
func (c *trio) meshed(t *testing.T) {
	t.Helper()
	for i, s := range c.servers {
		nc := dial(t, s.Addr())
		for j, other := range c.servers {
			if i == j {
				continue
			}
			sub, err := nc.SubscribeSync("mesh")
			if err != nil {
				t.Fatal(err)
			}
			from := dial(t, other.Addr())
			testkit.Eventually(t, 20*time.Second, func() error {
				if err := from.Publish("mesh", nil); err != nil {
					return err
				}
				_, err := sub.NextMsg(10 * time.Millisecond)
				return err
			})
			from.Close()
			if err := sub.Unsubscribe(); err != nil {
				t.Fatal(err)
			}
		}
		nc.Close()
	}
}

// fronted is a cluster of three servers, each behind a proxy, since it may be
// at another address when it is back.
type fronted struct {
	servers []*servers.Server
	addrs   []string     // of the proxies
	sys     []*nats.Conn // to each server
}

func startFronted(t *testing.T) *fronted {
	t.Helper()
	c := &fronted{servers: startCluster(t).Members()}
	for _, s := range c.servers {
		p, err := netfault.Listen(s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		c.addrs = append(c.addrs, p.Addr())
		c.sys = append(c.sys, dial(t, p.Addr(), nats.UserInfo("sys", "sys"), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)))
	}
	return c
}

// open opens three nodes that know all servers.
func (c *fronted) open(t *testing.T) []*node {
	t.Helper()
	params := map[string]string{"servers": strings.Join(c.addrs, ",")}
	nodes := []*node{open(t, "a", params, patient), open(t, "b", params, patient), open(t, "c", params, patient)}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	return nodes
}

// holder returns the server on which a node is subscribed.
func (c *fronted) holder(t *testing.T, name string) *servers.Server {
	t.Helper()
	for i, s := range c.servers {
		names, err := subscribed(c.sys[i], "test")
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(names, name) {
			return s
		}
	}
	t.Fatalf("no server has a subscription of %s", name)
	return nil
}

// once reports whether the servers have one subscription of each node, all
// together.
func (c *fronted) once(nodes ...*node) error {
	var got, want []string
	for _, sys := range c.sys {
		names, err := subscribed(sys, "test")
		if err != nil {
			return err
		}
		got = append(got, names...)
	}
	for _, n := range nodes {
		want = append(want, n.name)
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		return fmt.Errorf("subscribed are %v, want %v", got, want)
	}
	return nil
}

func patient(c *backend.Config) { c.Timing.Grace = time.Minute }

// TestServerOfACluster: the server that holds a node's subscription is lost. The
// node goes on at another one, keeps its view, and misses nothing. While a server
// is silent its nodes are so for those at other servers, which notice it as soon as
// they do themselves: these may count them as failed until they are back.
func TestServerOfACluster(t *testing.T) {
	t.Parallel()
	for what, loss := range map[string]struct {
		lose, repair func(*servers.Server, testing.TB)
		keep         []int // nodes that keep their view
	}{
		"killed": {(*servers.Server).Kill, (*servers.Server).Start, []int{0, 1, 2}},
		"paused": {(*servers.Server).Pause, (*servers.Server).Resume, []int{1}},
	} {
		t.Run(what, func(t *testing.T) {
			c := startFronted(t)
			nodes := c.open(t)
			s := c.holder(t, "b")
			loss.lose(s, t)
			testkit.Eventually(t, 20*time.Second, func() error {
				if !strings.Contains(nodes[1].log.String(), "detached from the cluster") { // for a few milliseconds maybe
					return errors.New("b has not noticed")
				}
				return nil
			})
			for i, n := range nodes {
				n.write(t, n.name)
				if names := n.View().Members; slices.Contains(loss.keep, i) && len(names) != 3 {
					t.Errorf("%s lists %v without its server", n.name, names)
				}
			}
			testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes...), hold(3, nodes...)) })
			loss.repair(s, t)
			for _, n := range nodes {
				n.write(t, n.name+" afterwards")
			}
			testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes...), hold(6, nodes...), c.once(nodes...)) })
		})
	}
}

// parted is a cluster whose third server can be separated from the others.
type parted struct {
	addrs      []string
	part, heal func()
}

// byProxies separates processes by the proxies between them.
func byProxies(t *testing.T) parted {
	c := startTrio(t)
	set := func(mode netfault.Mode) func() {
		return func() {
			for pair, p := range c.routes {
				if pair[1] == 2 {
					p.Set(mode)
				}
			}
		}
	}
	return parted{[]string{c.servers[0].Addr(), c.servers[1].Addr(), c.servers[2].Addr()}, set(netfault.Swallow), set(netfault.Pass)}
}

// byNetwork separates containers by taking their network away.
func byNetwork(t *testing.T) parted {
	c := servers.StartCluster(t, servers.NATS(), 3, configured(base+"ping_interval: 1s\n"))
	if !c.Parts() {
		t.Skip("servers that are processes are parted by proxies")
	}
	return parted{c.Addrs(), func() { c.Part(t, 2) }, func() { c.Heal(t, 2) }}
}

// TestPartitionedServers: a server that its cluster has lost goes on serving
// its own clients. The views differ, and agree again when it is back.
func TestPartitionedServers(t *testing.T) {
	t.Parallel()
	for how, start := range map[string]func(*testing.T) parted{"by proxies": byProxies, "by network": byNetwork} {
		t.Run(how, func(t *testing.T) {
			c := start(t)
			var nodes []*node
			for i, name := range []string{"a", "b", "c"} {
				nodes = append(nodes, open(t, name, map[string]string{"servers": c.addrs[i]}))
			}
			testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
			nodes[0].write(t, "before")
			testkit.Eventually(t, 20*time.Second, func() error { return hold(1, nodes...) })

			c.part()
			testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes[:2]...), agree(nodes[2])) })
			for _, n := range nodes {
				n.write(t, "apart "+n.name)
			}
			testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(hold(3, nodes[:2]...), hold(2, nodes[2])) })
			c.heal()
			testkit.Eventually(t, 15*time.Second, func() error { return errors.Join(agree(nodes...), hold(4, nodes...)) })
		})
	}
}

// TestClusterRestart: all servers are killed and come back.
func TestClusterRestart(t *testing.T) {
	t.Parallel()
	c := startFronted(t)
	nodes := c.open(t)
	for _, s := range c.servers {
		s.Kill(t)
	}
	for _, n := range nodes {
		testkit.Eventually(t, 20*time.Second, func() error { return detachedSaying(n, "not connected") })
		n.write(t, n.name)
	}
	for _, s := range c.servers {
		s.Start(t)
	}
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes...), hold(3, nodes...), c.once(nodes...)) })
}

// TestLameDuck: a server says that it is about to stop, and ends the connections
// of its clients one by one. Their nodes go to the other servers.
func TestLameDuck(t *testing.T) {
	t.Parallel()
	c := startTrio(t)
	lame, others := c.servers[0], []*local{c.servers[1], c.servers[2]}
	away, err := netfault.Listen(others[0].Addr) // so that all are at the one that is to stop
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = away.Close() })
	away.Set(netfault.Refuse)
	params := map[string]string{"servers": lame.Addr() + "," + away.Addr()}
	nodes := []*node{open(t, "a", params, patient), open(t, "b", params, patient), open(t, "c", params, patient)}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	away.Set(netfault.Pass)
	lame.Exec(t, "nats-server", "--signal", "ldm="+lame.path("pid"))
	for i, n := range nodes {
		testkit.Eventually(t, 20*time.Second, func() error {
			for _, text := range []string{"about to stop", "attached to the cluster again"} {
				if !strings.Contains(n.log.String(), text) {
					return fmt.Errorf("%s does not log %q", n.name, text)
				}
			}
			return nil
		})
		n.write(t, n.name)
		testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes...), hold(i+1, nodes...)) })
		if failed := strings.Contains(n.log.String(), "member failed"); failed {
			t.Errorf("%s counts a member as failed", n.name)
		}
	}
}

// TestLeafNode: nodes at a leaf node and at its hub are one cluster, and are again
// after the two have lost each other.
func TestLeafNode(t *testing.T) {
	t.Parallel()
	leafs := process.Port(t)
	hub := startLocal(t, fmt.Sprintf(`leafnodes { listen: "127.0.0.1:%d" }`, leafs))
	between, err := netfault.Listen(func() string { return fmt.Sprintf("127.0.0.1:%d", leafs) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = between.Close() })
	leaf := startLocal(t, `leafnodes { reconnect: 1, remotes: [{url: "nats://`+between.Addr()+`"}] }`)
	nodes := []*node{open(t, "a", hub.at()), open(t, "b", hub.at()), open(t, "c", leaf.at())}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	for _, n := range nodes {
		n.write(t, n.name)
	}
	testkit.Eventually(t, 20*time.Second, func() error { return hold(3, nodes...) })

	between.Set(netfault.Refuse)
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes[:2]...), agree(nodes[2])) })
	for _, n := range nodes {
		n.write(t, n.name+" apart")
	}
	between.Set(netfault.Pass)
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes...), hold(6, nodes...)) })
}
