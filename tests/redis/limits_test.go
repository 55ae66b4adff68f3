package redis_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

func address(s *servers.Server) map[string]string { return map[string]string{"address": s.Addr()} }

// addLarge makes n write entries of 1 MiB.
func addLarge(n *member, entries int) {
	random := rand.NewChaCha8([32]byte{'5', '0'})
	for range entries {
		data := make([]byte, 1<<20)
		_, _ = random.Read(data) // never fails
		n.set.add(string(data))
	}
}

// TestLargeState moves a state of 50 MiB through a server with its default
// limits, to a node that joins, and to one whose link carries 10 MiB a second.
func TestLargeState(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("moves 200 MiB")
	}
	s := servers.Start(t, servers.Redis(), servers.Options{})
	a, b := open(t, "a", address(s)), open(t, "b", address(s))
	agree(t, 5*time.Second, a, b)
	const entries = 50
	addLarge(a, entries)
	hold(t, 60*time.Second, entries, a, b)
	start := time.Now()
	c := open(t, "c", address(s))
	hold(t, 60*time.Second, entries, c)
	t.Logf("50 MiB reached the joiner after %v", time.Since(start))

	slow, err := netfault.Listen(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := slow.Close(); err != nil {
			t.Error(err)
		}
	})
	slow.Delay(3 * time.Millisecond) // for each 32 KiB
	start = time.Now()
	d := open(t, "d", map[string]string{"address": slow.Addr()})
	hold(t, 60*time.Second, entries, d)
	t.Logf("50 MiB reached the joiner on a slow link after %v; it lost its link for %q", time.Since(start), d.losses())
	agree(t, 10*time.Second, a, b, c, d)
}

// TestKicked ends subscriptions from the server's side: by CLIENT KILL, and by
// the limit of what waits for a subscriber.
func TestKicked(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("moves 80 MiB")
	}
	s := servers.Start(t, servers.Redis(), servers.Options{})
	c := client(t, s.Addr())
	link, err := netfault.Listen(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	})
	patient := func(c *backend.Config) { c.Timing.Heartbeat = 2 * time.Second } // the server is to drop it, before it looks for another link
	nodes := []*member{open(t, "a", address(s)), open(t, "b", address(s)), open(t, "c", map[string]string{"address": link.Addr()}, patient)}
	agree(t, 5*time.Second, nodes...)
	for _, n := range nodes {
		n.losses()
	}

	do(t, c, "client", "kill", "type", "pubsub")
	nodes[0].set.add("while the subscriptions are gone")
	detached(t, 5*time.Second, nodes...)
	agree(t, 5*time.Second, nodes...)
	hold(t, 5*time.Second, 1, nodes...)
	for _, n := range nodes {
		t.Logf("%s: %q", n.name, n.losses())
	}

	do(t, c, "config", "set", "client-output-buffer-limit", "pubsub 2mb 1mb 1")
	link.Set(netfault.Stall)
	const entries = 40 // far more than the sockets on the way hold
	addLarge(nodes[0], entries)
	testkit.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(s.Logs(), "output buffer limits") {
			return errors.New("the server has dropped nobody")
		}
		return nil
	})
	do(t, c, "config", "set", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
	link.Set(netfault.Pass)
	detached(t, 10*time.Second, nodes[2])
	agree(t, 20*time.Second, nodes...)
	hold(t, 20*time.Second, 1+entries, nodes...)
	t.Logf("c: %q", nodes[2].losses())
}

// TestMemoryLimit fills a server's memory: it refuses writes, and still carries
// frames.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, servers.Redis(), servers.Options{Args: []string{"--maxmemory-policy", "noeviction"}})
	c := client(t, s.Addr())
	nodes := trio(t, address(s))
	do(t, c, "config", "set", "maxmemory", "1")
	if err := c.Set(t.Context(), "key", "value", 0).Err(); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Fatalf("SET on a full server: %v, want OOM", err)
	}
	nodes[0].set.add("to a full server")
	late := open(t, "d", address(s))
	nodes = append(nodes, late)
	agree(t, 5*time.Second, nodes...)
	hold(t, 5*time.Second, 1, nodes...)
	for _, n := range nodes[:3] {
		if lost := n.losses(); len(lost) > 0 {
			t.Errorf("%s lost its link: %q", n.name, lost)
		}
	}
}

// TestClientsEvicted makes the server drop its clients because they use too
// much memory.
func TestClientsEvicted(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, servers.Redis(), servers.Options{})
	c := client(t, s.Addr())
	do(t, c, "client", "no-evict", "on")
	nodes := trio(t, address(s))
	do(t, c, "config", "set", "maxmemory-clients", "1")
	nodes[0].set.add("with all clients evicted")
	testkit.Eventually(t, 5*time.Second, func() error { // the server chooses, and may spare a subscription
		for _, n := range nodes {
			if n.View().Status == backend.Detached {
				return nil
			}
		}
		return errors.New("no node was detached")
	})
	do(t, c, "config", "set", "maxmemory-clients", "0")
	agree(t, 10*time.Second, nodes...)
	hold(t, 10*time.Second, 1, nodes...)
}

// TestClientPause makes the server answer nobody for a while, but keep all
// connections.
func TestClientPause(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"ALL", "WRITE"} {
		t.Run(mode, func(t *testing.T) {
			s := servers.Start(t, servers.Redis(), servers.Options{})
			nodes := trio(t, address(s))
			do(t, client(t, s.Addr()), "client", "pause", "5000", mode)
			nodes[1].set.add("during the pause")
			detached(t, 5*time.Second, nodes...)
			for _, n := range nodes {
				if v := n.View(); len(v.Members) != len(nodes) {
					t.Errorf("%s lists %d members during a pause below grace", n.name, len(v.Members))
				}
			}
			agree(t, 15*time.Second, nodes...)
			hold(t, 10*time.Second, 1, nodes...)
			t.Logf("a: %q", nodes[0].losses())
		})
	}
}

// TestCannotSave makes a server refuse writes because it cannot save.
func TestCannotSave(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, servers.Redis(), servers.Options{Args: []string{"--appendonly", "no", "--save", "3600 1", "--dir", "/proc"}})
	c := client(t, s.Addr())
	nodes := trio(t, address(s))
	do(t, c, "set", "key", "value")
	_ = c.Do(t.Context(), "bgsave").Err() // it must fail
	testkit.Eventually(t, 20*time.Second, func() error {
		if err := c.Set(t.Context(), "key", "value", 0).Err(); err == nil || !strings.Contains(err.Error(), "MISCONF") {
			return fmt.Errorf("SET: %v, want MISCONF", err)
		}
		return nil
	})
	nodes[2].set.add("to a server that cannot save")
	hold(t, 5*time.Second, 1, nodes...)
	late := open(t, "d", address(s))
	agree(t, 5*time.Second, append(nodes, late)...)
}
