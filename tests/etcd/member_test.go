package etcd_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// seat is a node that knows all three members of an etcd cluster, each behind
// its own proxy, which shows which of them the node uses.
type seat struct {
	*node
	proxies [3]*netfault.Proxy
}

// takeSeat opens a node; members are where each member is at the moment.
func takeSeat(t testing.TB, name string, members [3]func() string) *seat {
	s := &seat{}
	var addrs []string
	for i, addr := range members {
		s.proxies[i] = proxy(t, addr)
		addrs = append(addrs, s.proxies[i].Addr())
	}
	params := endpoints(addrs...)
	params["lease_ttl"] = "5s" // two fifths of it are left to a node that goes to another: more than a busy machine takes
	s.node = open(t, name, params)
	return s
}

// serving returns the member that serves the node's watch.
func (s *seat) serving(t testing.TB) (member int) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() error {
		count := 0
		for i, p := range s.proxies {
			if p.Links() > 0 {
				count, member = count+1, i
			}
		}
		if count != 1 {
			return errors.New("there are more links, or none")
		}
		return nil
	})
	return member
}

// trouble is a cluster of etcd of which one member can be taken away.
type trouble struct {
	members [3]func() string // where each is at the moment
	lose    func(member int)
	repair  func(member int)
}

// onServers makes trouble for a member by faults of one server.
func onServers(lose, repair func(*servers.Server, testing.TB)) func(testing.TB) *trouble {
	return func(t testing.TB) *trouble {
		all := startCluster(t).Members()
		return &trouble{
			members: [3]func() string{all[0].Addr, all[1].Addr, all[2].Addr},
			lose:    func(member int) { lose(all[member], t) },
			repair:  func(member int) { repair(all[member], t) },
		}
	}
}

// onMesh separates a member from the others; its clients still reach it.
func onMesh(t testing.TB) *trouble {
	q := newQuorum(t)
	return &trouble{
		members: [3]func() string{q.members[0].Addr, q.members[1].Addr, q.members[2].Addr},
		lose:    q.mesh.part,
		repair:  func(int) { q.mesh.part(-1) },
	}
}

// cutOff takes away a member's network to the others, if it has one.
func cutOff(t testing.TB) *trouble {
	c := startCluster(t)
	if !c.Parts() {
		t.Skip("servers that are processes are parted by a mesh")
	}
	all := c.Members()
	return &trouble{
		members: [3]func() string{all[0].Addr, all[1].Addr, all[2].Addr},
		lose:    func(member int) { c.Part(t, member) },
		repair:  func(member int) { c.Heal(t, member) },
	}
}

// TestMemberThatServesTheWatch removes the etcd member that a node uses, and
// expects no view to change, and nothing to be lost. A leader that was paused may
// take leases for expired when it goes on, though they were renewed at the one that
// has replaced it: etcd then revokes them, and their nodes say so and come back.
func TestMemberThatServesTheWatch(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(testing.TB) *trouble{
		"is killed":  onServers((*servers.Server).Kill, (*servers.Server).Start),
		"is paused":  onServers((*servers.Server).Pause, (*servers.Server).Resume),
		"is parted":  onMesh,
		"is cut off": cutOff,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := begin(t)
			seats := []*seat{takeSeat(t, "a", c.members), takeSeat(t, "b", c.members), takeSeat(t, "c", c.members)}
			nodes := []*node{seats[0].node, seats[1].node, seats[2].node}
			testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
			talk(t, "before", nodes...)
			var resumed, revoked atomic.Bool
			stop := steadily(t, func() error {
				for _, n := range nodes {
					if err := n.sees("a", "b", "c"); err != nil && name == "is paused" && resumed.Load() {
						revoked.Store(true)
					} else if err != nil {
						return err
					}
				}
				return nil
			})
			defer stop()
			for range 2 { // the member that takes over is next
				member := seats[0].serving(t)
				c.lose(member)
				testkit.Eventually(t, 20*time.Second, func() error {
					if err := agree(nodes...); err != nil {
						return err
					}
					for i, p := range seats[0].proxies {
						if i != member && p.Links() > 0 {
							return nil
						}
					}
					return errors.New("there is no link to another")
				})
				talk(t, name, nodes...)
				resumed.Store(true)
				c.repair(member)
				talk(t, "after "+name, nodes...)
				testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
				resumed.Store(false)
			}
			stop()
			told := func(n *node) bool {
				return n.log.has("the lease is gone") == nil || n.log.has("changed this node's key") == nil || n.log.has("lease not found") == nil
			}
			if revoked.Load() && !slices.ContainsFunc(nodes, told) {
				t.Error("a view has changed, and no node says that etcd has revoked its lease")
			}
		})
	}
}

// TestWriteLostWithItsLeader loses a frame with the leader of etcd that it was passed on
// to, which etcd finds out after seven seconds. The node says it again by then, and what
// it says later does not wait.
func TestWriteLostWithItsLeader(t *testing.T) {
	t.Parallel()
	q := newQuorum(t)
	client := admin(t, q.addrs()[0])
	leader, nodes := -1, []*node(nil)
	for i, addr := range q.addrs() {
		r, err := client.Status(within(t), addr)
		if err != nil {
			t.Fatal(err)
		}
		if r.Leader == r.Header.MemberId {
			leader = i
			continue
		}
		params := endpoints(addr)
		params["lease_ttl"] = "10s" // the link outlives the election
		nodes = append(nodes, open(t, fmt.Sprintf("node-%d", i), params))
	}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	talk(t, "before", nodes...)
	links := nodes[0].metric(t, "alertmanager_cluster_reconnections_total")
	q.members[leader].Pause(t) // it takes what is passed on to it
	nodes[0].say("lost")
	testkit.Eventually(t, 20*time.Second, func() error { return nodes[0].log.has("was not answered, and is said again") })
	q.members[leader].Kill(t)
	nodes[0].say("later")
	testkit.Eventually(t, 20*time.Second, func() error { return nodes[1].heard("lost", "later") })
	if n := nodes[0].metric(t, "alertmanager_cluster_messages_publish_failures_total"); n != 0 {
		t.Errorf("%v frames were given up", n)
	}
	if n := nodes[0].metric(t, "alertmanager_cluster_reconnections_total"); n != links {
		t.Errorf("the link was lost %v times", n-links)
	}
}

// TestNoLeader leaves one member of three, which serves connections and has no
// leader.
func TestNoLeader(t *testing.T) {
	t.Parallel()
	q := newQuorum(t)
	nodes := []*node{
		open(t, "a", endpoints(q.addrs()[0])),
		open(t, "b", endpoints(q.addrs()[0])),
	}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	stop := steadily(t, func() error { return errors.Join(nodes[0].sees("a", "b"), nodes[1].sees("a", "b")) })
	defer stop()
	q.members[1].Stop(t)
	q.members[2].Stop(t)
	for _, n := range nodes {
		testkit.Eventually(t, 20*time.Second, func() error { return n.detached() })
	}
	nodes[0].say("with no leader")
	q.members[1].Start(t)
	testkit.Eventually(t, 20*time.Second, func() error {
		return errors.Join(agree(nodes...), nodes[1].heard("with no leader"))
	})
	stop()
}

// TestEndpointsThatDoNotAnswer checks that a node skips them.
func TestEndpointsThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	server := start(t)
	silent := proxy(t, server.Addr)
	silent.Set(netfault.Swallow)
	params := endpoints("127.0.0.1:1", silent.Addr(), server.Addr())
	params["dial_timeout"] = "500ms"
	n := open(t, "a", params)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })

	params = endpoints("127.0.0.1:1", silent.Addr())
	params["dial_timeout"] = "300ms"
	n = open(t, "b", params)
	testkit.Eventually(t, 20*time.Second, func() error { return n.detached("connection refused", "no answer within 300ms") })
}
