package remote

import (
	"fmt"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance"
)

// Mesh returns the harness of a backend without a server, whose nodes listen on ports
// of the loopback interface and know the addresses of all names that a cluster will
// have. A node that comes back has the address of its name. The harness has no hook;
// params are added to those of each node.
func Mesh(name string, names []string, params map[string]string) (conformance.Harness, error) {
	b, ok := backend.Lookup(name)
	if !ok || b.Mesh == nil {
		return conformance.Harness{}, fmt.Errorf("%w: %s has no nodes that meet each other", driver.ErrConfig, name)
	}
	m := &mesh{backend: b, names: names, params: params, clusters: map[string]map[string]string{}}
	return conformance.Harness{
		Backend: name,
		Params:  m.of,
		Timing:  conformance.Timing{Channel: backend.Timing{Heartbeat: 250 * time.Millisecond}},
	}, nil
}

type mesh struct {
	backend driver.Backend
	names   []string
	params  map[string]string

	mu       sync.Mutex
	clusters map[string]map[string]string // addresses, by cluster and name
}

// of returns the parameters of a node.
func (m *mesh) of(t testing.TB, n conformance.Node) map[string]string {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.clusters[n.Cluster] == nil {
		m.clusters[n.Cluster] = addresses(t, m.names)
	}
	addrs := m.clusters[n.Cluster]
	var peers []string
	for _, name := range m.names {
		if name != n.Name {
			peers = append(peers, addrs[name])
		}
	}
	params := m.backend.Mesh(addrs[n.Name], peers)
	maps.Copy(params, m.params)
	return params
}

// addresses returns a free one for each name.
func addresses(t testing.TB, names []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range names { // all are held until each has its own
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("a port for %s: %v", name, err)
		}
		defer l.Close() //nolint:errcheck // nobody has connected
		all[name] = l.Addr().String()
	}
	return all
}
