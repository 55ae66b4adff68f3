package interop_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// A host's address changes while its node runs, again and again. What is sent to it by
// packets and by streams, meanwhile and afterwards, arrives at the new one.
func TestAddressChanges(t *testing.T) {
	for name, file := range map[string]string{"plain": "", "TLS": testca.GossipFile(t, t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t)
			a, b := l.host(t), l.host(t)
			params := map[string]string{"listen_address": "0.0.0.0:9094", "advertise_address": "eth0", "peers_resolve_interval": "500ms"}
			if file != "" {
				params["tls_config_file"] = file
			}
			openAll(t, params, a, b)
			for i := range 2 {
				a.call(t, request{Do: "broadcast", Name: fmt.Sprint("before", i), Size: 3000}) // so that there is a courier
				has(t, b, fmt.Sprint("before", i))
				b.move(t, fmt.Sprint(subnet, 100+i))
				updates := 0
				next := func() {
					a.call(t, request{Do: "broadcast", Name: fmt.Sprint("meanwhile", i, "/", updates), Size: 10 + 3000*(updates%2)})
					updates++
				}
				testkit.Eventually(t, 30*time.Second, func() error {
					next()
					s := a.call(t, request{Do: "status"})
					if !strings.Contains(s.Addresses, b.ip) || s.Members != "ab" {
						return fmt.Errorf("a lists %q at %q", s.Members, s.Addresses)
					}
					return nil
				})
				agreed(t, a, b)
				resyncs := b.call(t, request{Do: "status"}).value(t, "clusterchannel_resyncs_total")
				for j := range 4 {
					after := fmt.Sprint("after", i, "/", j)
					a.call(t, request{Do: "broadcast", Name: after, Size: 10 + 3000*(j%2)})
					has(t, b, after)
				}
				for j := range updates {
					has(t, b, fmt.Sprint("meanwhile", i, "/", j))
				}
				if n := b.call(t, request{Do: "status"}).value(t, "clusterchannel_resyncs_total") - resyncs; n > 3 {
					t.Errorf("b has asked for %v states: what was sent afterwards came by exchange", n)
				}
			}
		})
	}
}

// Two hosts swap their addresses, as leases of them may be given out anew. What is sent
// to either by packets and by streams arrives at it, and not at the other.
func TestAddressesAreSwapped(t *testing.T) {
	for name, file := range map[string]string{"plain": "", "TLS": testca.GossipFile(t, t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t)
			a, b, c := l.host(t), l.host(t), l.host(t)
			params := map[string]string{"listen_address": "0.0.0.0:9094", "advertise_address": "eth0", "peers_resolve_interval": "500ms"}
			if file != "" {
				params["tls_config_file"] = file
			}
			openAll(t, params, a, b, c)
			a.call(t, request{Do: "broadcast", Name: "before", Size: 3000})
			has(t, b, "before")
			has(t, c, "before")
			ofB, ofC := b.ip, c.ip
			c.move(t, subnet+"100")
			b.move(t, ofC)
			c.move(t, ofB)
			testkit.Eventually(t, 30*time.Second, func() error {
				for _, h := range []*host{a, b, c} {
					if s := h.call(t, request{Do: "status"}); s.Members != "abc" || !strings.HasPrefix(s.Addresses, a.ip+":9094 "+b.ip+":9094 "+c.ip+":9094") {
						return fmt.Errorf("%s lists %q at %q", h.name(), s.Members, s.Addresses)
					}
				}
				return nil
			})
			for i := range 6 {
				for _, h := range []*host{a, b, c} {
					after := fmt.Sprint("after", h.name(), i)
					h.call(t, request{Do: "broadcast", Name: after, Size: 10 + 3000*(i%2)})
					for _, o := range []*host{a, b, c} {
						has(t, o, after)
					}
				}
			}
			for _, h := range []*host{a, b, c} {
				if n := h.call(t, request{Do: "status"}).value(t, "clusterchannel_undelivered_total"); n > 2 {
					t.Errorf("%s has lost %v frames", h.name(), n)
				}
			}
		})
	}
}
