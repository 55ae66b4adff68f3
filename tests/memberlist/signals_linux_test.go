package interop_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The parts of a firewall on host h: against all, or where other is named against it
// alone.
func packetsIn(other *host) string  { return "-A INPUT -p udp" + address(" -s ", other) + " -j DROP" }
func packetsOut(other *host) string { return "-A OUTPUT -p udp" + address(" -d ", other) + " -j DROP" }
func dropsTCP(other *host) string   { return "-A INPUT -p tcp" + address(" -s ", other) + " -j DROP" }
func refusesTCP(other *host) string {
	return "-A INPUT -p tcp --syn" + address(" -s ", other) + " -j REJECT --reject-with tcp-reset"
}

func address(flag string, other *host) string {
	if other == nil {
		return ""
	}
	return flag + other.ip
}

// Whatever UDP and TCP say of a member together: nobody comes and goes, on any node.
// A member that neither packets nor streams reach is lost once. One that is kept from
// one other alone, or in one way alone, stays.
func TestContradictingSignals(t *testing.T) {
	type rules = []func(*host) string
	udp := map[string]rules{"passes": nil, "in": {packetsIn}, "out": {packetsOut}, "both": {packetsIn, packetsOut}}
	tcp := map[string]rules{"passes": nil, "refused": {refusesTCP}, "dropped": {dropsTCP}}
	for u, packets := range udp {
		for _, size := range []int{2, 3} {
			t.Run(fmt.Sprintf("UDP %s of %d", u, size), func(t *testing.T) {
				t.Parallel()
				l := newLAN(t)
				hosts := []*host{l.host(t), l.host(t), l.host(t)}[:size]
				openAll(t, map[string]string{"probe_interval": "200ms", "probe_timeout": "100ms", "reconnect_interval": "200ms", "push_pull_interval": "500ms"}, hosts...)
				for c, streams := range tcp {
					for _, other := range []*host{nil, hosts[0]}[:size-1] {
						firewall := slices.Concat(packets, streams)
						if len(firewall) == 0 {
							continue
						}
						for _, h := range hosts {
							h.call(t, request{Do: "forget"})
						}
						for _, rule := range firewall {
							hosts[1].filter(t, rule(other))
						}
						steady(t, fmt.Sprintf("TCP %s, against all: %v", c, other == nil), u != "passes" && c != "passes" && other == nil, hosts...)
						hosts[1].unfilter(t)
						agreed(t, hosts...)
					}
				}
			})
		}
	}
}

// watched is five times as long as a member takes to be given up.
const watched = 2 * time.Second

// steady checks that what each node lists never changes, or once where a member may
// be lost.
func steady(t *testing.T, name string, lost bool, hosts ...*host) {
	t.Helper()
	<-time.After(watched)
	for _, h := range hosts {
		var lists []string
		for _, v := range h.call(t, request{Do: "status"}).History {
			members, _, _ := strings.Cut(v, " ")
			lists = append(lists, members)
		}
		changes := len(slices.Compact(append([]string{"abc"[:len(hosts)]}, lists...))) - 1
		if changes > 0 && !lost || changes > 1 {
			t.Errorf("%s: %s has listed %q in turn", name, h.name(), lists)
		}
	}
}
