package redis_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/tests/grafanapeer"
)

func onGrafanasWire(params map[string]string, prefix string) map[string]string {
	params = maps.Clone(params)
	params["wire"], params["prefix"] = "grafana", prefix
	return params
}

// shared is a set, as a peer of Grafana has it.
func shared(t *testing.T, c goredis.UniversalClient, prefix string) (*grafanapeer.Peer, *set) {
	t.Helper()
	peer := grafanapeer.Start(grafanapeer.Options{
		Client: c, Name: "a-peer", Prefix: prefix, Heartbeat: 500 * time.Millisecond, Scan: 500 * time.Millisecond, SettlePoll: 200 * time.Millisecond,
	})
	t.Cleanup(peer.Kill)
	s := &set{entries: map[string]bool{}}
	peer.AddState("set", s)
	return peer, s
}

// listed waits until the nodes and one peer of Grafana have one order.
func listed(t *testing.T, peer *grafanapeer.Peer, nodes ...*member) {
	t.Helper()
	testkit.Eventually(t, 15*time.Second, func() error {
		theirs := peer.Members()
		for _, n := range nodes {
			v := n.View()
			var ours []string
			for _, m := range v.Members {
				ours = append(ours, strings.TrimSuffix(m.Name+"+"+m.Instance, "+"))
			}
			if len(ours) != len(nodes)+1 || v.Status != backend.Attached || !slices.EqualFunc(theirs, ours, strings.HasSuffix) {
				return fmt.Errorf("%s is %v and lists %q, the peer %q", n.name, v.Status, ours, theirs)
			}
		}
		return nil
	})
}

func TestGrafanasWireNeedsRights(t *testing.T) {
	t.Parallel()
	const rights = "resetkeys ~grafana:* resetchannels &grafana:* +psubscribe +publish +set +del +scan +mget"
	s := withUser(t, rights)
	nodes := trio(t, onGrafanasWire(asUser(s), "grafana"))
	peer, theirs := shared(t, client(t, s.Addr()), "grafana")
	listed(t, peer, nodes...)
	nodes[0].set.add("with the least rights")
	hold(t, 5*time.Second, 1, nodes...)
	testkit.Eventually(t, 20*time.Second, func() error {
		if theirs.len() != 1 {
			return errors.New("the peer has not got it")
		}
		return nil
	})
	for _, lacks := range []string{"+psubscribe", "+publish", "+set", "+scan", "+mget", "~grafana:*", "&grafana:*"} {
		if lacks == "~grafana:*" || lacks == "&grafana:*" {
			setUser(t, s, strings.Replace(rights, lacks, lacks[:1]+"others:*", 1))
		} else {
			setUser(t, s, "-"+lacks[1:])
		}
		refused(t, onGrafanasWire(asUser(s), "grafana"), "username", "NOPERM", rights)
		setUser(t, s, rights)
	}
}

func TestGrafanasWireOnACluster(t *testing.T) {
	t.Parallel()
	all := newCluster(t)
	var addresses []string
	for _, s := range all[:3] {
		addresses = append(addresses, s.Addr())
	}
	// Grafana's own peers need their keys in one slot.
	p := onGrafanasWire(map[string]string{"address": strings.Join(addresses, ",")}, "{grafana}")
	nodes := trio(t, p)
	c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: addresses})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	scattered := trio(t, onGrafanasWire(p, "scattered"))
	scattered[0].set.add("not for the others")
	hold(t, 5*time.Second, 1, scattered...)
	owner := client(t, all[owner(t, all, do(t, client(t, all[0].Addr()), "cluster", "keyslot", "{grafana}").(int64))].Addr())
	peer, theirs := shared(t, owner, "{grafana}")
	listed(t, peer, nodes...)
	nodes[0].set.add("across the Cluster")
	hold(t, 5*time.Second, 1, nodes...)
	testkit.Eventually(t, 20*time.Second, func() error {
		if theirs.len() != 1 {
			return errors.New("the peer has not got it")
		}
		return nil
	})
}

func TestGrafanasWireWithSentinels(t *testing.T) {
	t.Parallel()
	l := newSentinels(t)
	l.ready(t)
	nodes := trio(t, onGrafanasWire(l.params(), "grafana"))
	l.data[0].Kill(t)
	nodes[0].set.add("while there is no master")
	detached(t, 5*time.Second, nodes...)
	agree(t, 20*time.Second, nodes...)
	hold(t, 10*time.Second, 1, nodes...)
	peer, theirs := shared(t, l.follower(t), "grafana")
	listed(t, peer, nodes...)
	testkit.Eventually(t, 20*time.Second, func() error {
		if theirs.len() != 1 {
			return errors.New("the peer has not got it")
		}
		return nil
	})
}

// TestGrafanasWireOnAServerThatRefusesWrites uses a server that is full, and
// one that cannot save. Heartbeats cannot be written then: peers of Grafana
// come to miss the nodes, which go on among themselves, and list them again
// after it.
func TestGrafanasWireOnAServerThatRefusesWrites(t *testing.T) {
	t.Parallel()
	for refusal, args := range map[string][]string{
		"OOM":     {"--maxmemory-policy", "noeviction"},
		"MISCONF": {"--appendonly", "no", "--save", "3600 1", "--dir", "/proc"},
	} {
		t.Run(refusal, func(t *testing.T) {
			s := servers.Start(t, servers.Redis(), servers.Options{Args: args})
			c := client(t, s.Addr())
			p := onGrafanasWire(address(s), "grafana")
			nodes := trio(t, p)
			peer, theirs := shared(t, c, "grafana")
			listed(t, peer, nodes...)

			set := func() error { return c.Set(t.Context(), "key", "value", 0).Err() }
			if refusal == "OOM" {
				do(t, c, "config", "set", "maxmemory", "1")
			} else {
				_ = c.Do(t.Context(), "bgsave").Err() // it must fail
			}
			testkit.Eventually(t, 20*time.Second, func() error {
				if err := set(); err == nil || !strings.HasPrefix(err.Error(), refusal+" ") {
					return fmt.Errorf("SET: %v, want %s", err, refusal)
				}
				return nil
			})
			nodes[0].set.add("to a server that refuses writes")
			nodes = append(nodes, open(t, "d", p))
			hold(t, 5*time.Second, 1, nodes...)
			testkit.Eventually(t, 15*time.Second, func() error {
				if log := nodes[0].logs.String(); !strings.Contains(log, "the heartbeat could not be written") || !strings.Contains(log, refusal) {
					return errors.New("nothing is told in the log")
				}
				return nil
			})
			for _, n := range nodes[:3] {
				if lost := n.losses(); len(lost) > 0 {
					t.Errorf("%s lost its link: %q", n.name, lost)
				}
			}

			if refusal == "OOM" {
				do(t, c, "config", "set", "maxmemory", "0")
			} else {
				do(t, c, "config", "set", "stop-writes-on-bgsave-error", "no")
			}
			testkit.Eventually(t, 20*time.Second, set)
			listed(t, peer, nodes...)
			nodes[1].set.add("after it")
			hold(t, 5*time.Second, 2, nodes...)
			testkit.Eventually(t, 20*time.Second, func() error {
				if theirs.len() != 2 {
					return fmt.Errorf("the peer holds %d entries, want 2", theirs.len())
				}
				return nil
			})
		})
	}
}
