package container

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
)

// Network is a network of containers, with its own addresses and names: a
// container is found by any of its aliases, and an alias that several have
// resolves to all of their addresses.
type Network struct {
	engine *engine
	prefix netip.Prefix
	*testcontainers.DockerNetwork
}

// NewNetwork makes a network, and removes it in t.Cleanup. An internal network
// is closed to all but its members: no port is published through it.
func NewNetwork(t testing.TB, internal bool) *Network {
	t.Helper()
	e, err := connected()
	if err != nil {
		t.Fatalf("container: %v", err)
	}
	n, err := e.network(internal)
	if err != nil {
		t.Fatalf("container: %v", err)
	}
	t.Cleanup(func() { n.remove(t) })
	return n
}

// remove removes the network. An engine may keep endpoints of containers that it has
// removed, of which it tells nobody and which end when it is restarted: then the
// network stays.
func (n *Network) remove(t testing.TB) {
	t.Helper()
	ctx, cancel := limited()
	defer cancel()
	err := n.Remove(ctx)
	if err == nil {
		return
	}
	defer n.engine.Close() //nolint:errcheck // it closes idle connections, no more
	if is, ierr := n.engine.NetworkInspect(ctx, n.ID, client.NetworkInspectOptions{}); ierr == nil && len(is.Network.Containers) == 0 {
		t.Logf("container: network %s stays, though no container is in it: %v", n.Name, err)
		return
	}
	t.Errorf("container: network %s: %v", n.Name, err)
}

// The addresses of networks: /24s of 198.18.0.0/15, which is reserved for
// measurements and so unlikely to be used by an office.
const subnets = 512

// network makes a network on a subnet that is free. The engine refuses one that
// overlaps with another's, which settles races between processes.
func (e *engine) network(internal bool) (*Network, error) {
	first := rand.IntN(subnets)
	for i := range subnets {
		n := (first + i) % subnets
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(18 + n>>8), byte(n), 0}), 24)
		options := []tcnetwork.NetworkCustomizer{
			tcnetwork.WithLabels(map[string]string{Label: self().String()}),
			tcnetwork.WithIPAM(&network.IPAM{Config: []network.IPAMConfig{{Subnet: prefix, Gateway: prefix.Addr().Next()}}}),
		}
		if internal {
			options = append(options, tcnetwork.WithInternal())
		}
		made, err := tcnetwork.New(context.Background(), options...)
		switch {
		case err == nil:
			return &Network{e, prefix, made}, nil
		case !strings.Contains(strings.ToLower(err.Error()), "overlap"):
			return nil, err
		}
	}
	return nil, errors.New("no subnet of 198.18.0.0/15 is free")
}

// Connect puts a container into the network. Its address may be a new one.
func (n *Network) Connect(t testing.TB, s *Server, aliases ...string) {
	t.Helper()
	ctx, cancel := limited()
	defer cancel()
	defer n.engine.Close() //nolint:errcheck // it closes idle connections, no more
	_, err := n.engine.NetworkConnect(ctx, n.ID, client.NetworkConnectOptions{
		Container: s.id(), EndpointConfig: &network.EndpointSettings{Aliases: aliases},
	})
	if err == nil {
		err = s.locate(ctx)
	}
	if err != nil {
		t.Fatalf("container: network %s: %v", n.Name, err)
	}
}

// Disconnect removes a container from the network, as when its cable is pulled.
func (n *Network) Disconnect(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := limited()
	defer cancel()
	defer n.engine.Close() //nolint:errcheck // it closes idle connections, no more
	_, err := n.engine.NetworkDisconnect(ctx, n.ID, client.NetworkDisconnectOptions{Container: s.id()})
	if err == nil {
		err = s.locate(ctx)
	}
	if err != nil {
		t.Fatalf("container: network %s: %v", n.Name, err)
	}
}

// Address returns the address of a running container in the network; it is
// invalid if the container has none.
func (n *Network) Address(t testing.TB, s *Server) netip.Addr {
	t.Helper()
	ctx, cancel := limited()
	defer cancel()
	info, err := s.inspect(ctx)
	if err != nil {
		t.Fatalf("container: %v", err)
	}
	if end, ok := info.NetworkSettings.Networks[n.Name]; ok {
		return end.IPAddress
	}
	return netip.Addr{}
}

// Prefix returns the addresses of the network.
func (n *Network) Prefix() netip.Prefix { return n.prefix }

// Gateway returns the address at which this machine is in the network: what
// listens there is reached by all members, unless the engine is elsewhere.
func (n *Network) Gateway() netip.Addr { return n.prefix.Addr().Next() }
