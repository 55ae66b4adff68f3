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
