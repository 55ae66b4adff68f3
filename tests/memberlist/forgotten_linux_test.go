package interop_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// A firewall forgets the connections that carry packets, and drops what comes by them,
// while new ones pass: packets get answers again by themselves.
func TestForgottenConnections(t *testing.T) {
	l := newLAN(t)
	a, b := l.host(t), l.host(t)
	openAll(t, map[string]string{"tls_config_file": testca.GossipFile(t, t.TempDir())}, a, b)
	answers := func() float64 {
		return a.call(t, request{Do: "status"}).value(t, "alertmanager_cluster_pings_seconds_count", `peer="b"`)
	}
	more := func(n float64) {
		t.Helper()
		before := answers()
		testkit.Eventually(t, 20*time.Second, func() error {
			if now := answers(); now < before+n {
				return fmt.Errorf("%v pings were answered", now-before)
			}
			return nil
		})
	}
	more(2)
	for _, h := range []*host{a, b} {
		h.call(t, request{Do: "forget"})
		l.in(t, h.cmd, `ss -Htn state established | while read -r _ _ here there; do
			iptables -w -A INPUT -p tcp --dport ${here##*:} --sport ${there##*:} -j DROP
		done`)
	}
	more(3)
	for _, h := range []*host{a, b} {
		for _, v := range h.call(t, request{Do: "status"}).History {
			if !strings.HasPrefix(v, "ab ") {
				t.Errorf("%s has seen %q", h.name(), v)
			}
		}
	}
}
