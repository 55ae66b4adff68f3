package memberlist

import (
	"context"
	"encoding/base64"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance"
)

// lab is a network, and a headless service for each cluster.
type lab struct {
	*network
	mu      sync.Mutex
	addrs   map[int]netip.Addr      // by Node.ID
	service map[string][]netip.Addr // by cluster: the nodes that are open
}

func (l *lab) addr(n conformance.Node) netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.addrs[n.ID].IsValid() {
		l.addrs[n.ID] = newHost()
	}
	return l.addrs[n.ID]
}

func (l *lab) endpoint(n conformance.Node) string {
	return netip.AddrPortFrom(l.addr(n), 9094).String()
}

func (l *lab) register(n conformance.Node, open bool) {
	addr := l.addr(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	others := slices.DeleteFunc(slices.Clone(l.service[n.Cluster]), func(a netip.Addr) bool { return a == addr })
	if open {
		others = append(others, addr)
	}
	l.service[n.Cluster] = others
}

func (l *lab) nodesOf(cluster string) []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.service[cluster])
}

// open opens n where Cut reaches it, and keeps the service up to date.
func (l *lab) open(n conformance.Node) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := open(ctx, o, hooks{
			wrap: l.at(l.endpoint(n)),
			resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
				if addrs := l.nodesOf(n.Cluster); len(addrs) > 0 {
					return addrs, nil
				}
				return noNames(ctx, host)
			},
		})
		if err != nil {
			return nil, err
		}
		l.register(n, true)
		return &serving{Driver: d, end: func() { l.register(n, false) }}, nil
	}
}

type serving struct {
	driver.Driver
	end func()
}

func (s *serving) Close(ctx context.Context) error {
	s.end()
	return s.Driver.Close(ctx)
}

// inject sends frame from outside as a user message under the label that the
// cluster's name makes.
func (l *lab) inject(t testing.TB, _ conformance.Server, cluster string, frame []byte) {
	l.mu.Lock()
	var all []netip.Addr
	for _, addrs := range l.service {
		all = append(all, addrs...)
	}
	l.mu.Unlock()
	const userMessage = 8
	packet, err := ml.AddLabelHeaderToPacket(append([]byte{userMessage}, frame...), cluster)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range all {
		conn, err := net.Dial("udp", netip.AddrPortFrom(addr, 9094).String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(packet) // a node may have closed meanwhile
		_ = conn.Close()
	}
}

func TestConformance(t *testing.T) { conformance.Run(t, harness()) }

func harness() conformance.Harness {
	l := &lab{network: newNetwork(), addrs: map[int]netip.Addr{}, service: map[string][]netip.Addr{}}
	secret := base64.StdEncoding.EncodeToString([]byte(conformance.Secret))
	return conformance.Harness{
		Backend: "memberlist",
		Driver:  func(_ testing.TB, n conformance.Node) driver.OpenFunc { return l.open(n) },
		Params: func(_ testing.TB, n conformance.Node) map[string]string {
			return map[string]string{
				"listen_address": l.endpoint(n), "peers": "service.test:9094", "peers_resolve_interval": "500ms",
				"probe_interval": "500ms", "probe_timeout": "250ms", // room below the ceiling, on a busy machine
			}
		},
		Bad: map[string]map[string]string{
			"listen_address":                  {"listen_address": "here"},
			"listen_address without a port":   {"listen_address": "127.0.0.1"},
			"listen_adress":                   {"listen_adress": "127.0.0.1:0"},
			"peers":                           {"peers": "node-2"},
			"advertise_address":               {"listen_address": "127.0.0.1:0", "advertise_address": "0.0.0.0"},
			"probe_interval":                  {"probe_interval": "1"},
			"encryption_keys":                 {"encryption_keys": conformance.Secret},
			"encryption_keys of a bad length": {"encryption_keys": secret},
			"tls_config_file":                 {"tls_config_file": "/does/not/exist"},
		},
		Cut: func(_ testing.TB, a, b conformance.Node, cut bool) {
			l.set(l.endpoint(a), l.endpoint(b), cut)
		},
		Inject: l.inject,
		Waive: map[string]string{
			"config/unreachable-degrades": "there is no server; that peers which do not answer are no error is tested in discovery_test.go",
			"fault/server-restart":        "there is no server",
			"fault/server-emptied":        "there is no server",
			"loss/failed-open":            "there is no server",
		},
	}
}
