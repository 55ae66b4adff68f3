package interop_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// large plays these tests with as many nodes, and as much state, as the documented
// figures are of.
var large = flag.Bool("large", false, "clusters of 12 nodes, with states of megabytes")

const sentBytes = "alertmanager_cluster_messages_sent_size_total"

// Two halves, each with a state of its own, are cut apart and healed. Each node is given
// what it lacks a few times at most, not by each join of each member, and holds no more
// than four states at any time: its own, what it is given, and what it gives.
func TestHealMovesStatesOnce(t *testing.T) {
	t.Run("with a digest", func(t *testing.T) { heal(t, false) })
	t.Run("compared as a whole", func(t *testing.T) { heal(t, true) })
}

func heal(t *testing.T, plain bool) {
	half, entries, size := 2, 32, 32<<10
	if *large {
		half, entries, size = 6, 64, 128<<10
	}
	l := newLAN(t)
	var hosts []*host
	for range 2 * half {
		h := l.host(t)
		if plain {
			h.call(t, request{Do: "plain"})
		}
		hosts = append(hosts, h)
	}
	left, right := hosts[:half], hosts[half:]
	openAll(t, map[string]string{"probe_interval": "500ms", "probe_timeout": "250ms"}, hosts...)
	for _, h := range left {
		for _, o := range right {
			h.filter(t, "-A INPUT -s "+o.ip+" -j DROP", "-A OUTPUT -d "+o.ip+" -j DROP")
		}
	}
	agreed(t, left...)
	agreed(t, right...)
	for i := range entries {
		for _, side := range [][]*host{left, right} {
			h := side[i%half]
			h.call(t, request{Do: "broadcast", Name: fmt.Sprint(h.name(), i), Size: size})
		}
	}
	holding(t, entries, hosts...)
	before := sent(t, hosts)
	for _, h := range hosts {
		h.call(t, request{Do: "forget"})
	}
	for _, h := range left {
		h.unfilter(t)
	}
	began := time.Now()
	holding(t, 2*entries, hosts...)
	whole := time.Since(began)
	agreed(t, hosts...)
	state := float64(2 * entries * size)
	states := (sent(t, hosts) - before) / state
	t.Logf("whole after %v, by %.1f states moved to %d nodes", whole.Round(time.Millisecond), states, len(hosts))
	for _, h := range hosts {
		r := h.call(t, request{Do: "status"})
		live := float64(r.Live) / state
		t.Logf("%s: a heap of %.1f states, with what is not collected yet of %.1f", h.name(), live, float64(r.Heap)/state)
		if *large && live > 4 { // else what the process holds anyway is more than a state
			t.Errorf("%s holds %.1f states; want 4 at most", h.name(), live)
		}
	}
	if most := 4 * float64(len(hosts)); states > most { // more than one member is asked at times
		t.Errorf("%.1f states were moved to %d nodes; want %v at most", states, len(hosts), most)
	}
}

// Nodes that start at once on one seed agree before they have its state, and are given
// it once each.
func TestManyJoinOneSeed(t *testing.T) {
	sizes := map[int]int{4: 2 << 20} // by the number of nodes
	if *large {
		sizes = map[int]int{6: 8 << 20, 12: 50 << 20}
	}
	for nodes, size := range sizes {
		t.Run(fmt.Sprintf("%d nodes, %d MiB", nodes, size>>20), func(t *testing.T) {
			l := newLAN(t)
			var hosts []*host
			for range nodes {
				hosts = append(hosts, l.host(t))
			}
			seed := hosts[0]
			open := func(h *host) {
				h.call(t, request{Do: "open", Name: h.name(), Params: map[string]string{"listen_address": h.ip + ":9094", "peers": seed.ip + ":9094"}})
			}
			open(seed)
			seed.call(t, request{Do: "put", Name: "large", Size: size})
			for _, h := range hosts {
				h.call(t, request{Do: "forget"})
			}
			began := time.Now()
			for _, h := range hosts[1:] {
				open(h)
			}
			agreed(t, hosts...)
			t.Logf("%d nodes agree after %v", nodes, time.Since(began).Round(time.Millisecond))
			holding(t, 1, hosts[1:]...)
			t.Logf("all have the state after %v", time.Since(began).Round(time.Millisecond))
			for _, h := range hosts {
				r := h.call(t, request{Do: "status"})
				t.Logf("%s: a heap of %.1f states, with what is not collected yet of %.1f", h.name(), float64(r.Live)/float64(size), float64(r.Heap)/float64(size))
			}
			if moved, most := sent(t, hosts), 1.5*float64((nodes-1)*size); moved > most {
				t.Errorf("%v bytes were moved for %d nodes that lack %d; want %v at most", moved, nodes-1, size, most)
			}
		})
	}
}

// holding waits until each host's node was given so many entries.
func holding(t *testing.T, entries int, hosts ...*host) {
	t.Helper()
	testkit.Eventually(t, 60*time.Second, func() error {
		for _, h := range hosts {
			if n := len(h.call(t, request{Do: "status"}).Got); n < entries {
				return fmt.Errorf("%s has %d entries of %d", h.name(), n, entries)
			}
		}
		return nil
	})
}

// sent is what all nodes have sent of updates and states, in bytes.
func sent(t *testing.T, hosts []*host) (total float64) {
	t.Helper()
	for _, h := range hosts {
		total += h.call(t, request{Do: "status"}).value(t, sentBytes, `msg_type="full_state"`)
	}
	return total
}
