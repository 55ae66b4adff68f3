package container

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// eventually polls until try returns nil.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-limit.C:
			t.Fatalf("%s: %v", what, err)
		case <-retry.C:
		}
	}
}

// reaches tries to talk from one container to a name.
func reaches(from *Server, name string) error {
	out, err := from.exec([]string{"redis-cli", "-h", name, "PING"})
	if err == nil && out != "PONG\n" {
		err = fmt.Errorf("%q", out)
	}
	return err
}

func TestNetwork(t *testing.T) {
	needsEngine(t)
	n := NewNetwork(t, true)
	in := func(aliases ...string) func(*Spec) {
		return func(spec *Spec) {
			spec.Networks = map[*Network][]string{n: aliases}
			spec.Port, spec.Ready = 0, nil
		}
	}
	a, b := redis(t, in("a", "both")), redis(t, in("b", "both"))
	for _, s := range []*Server{a, b} {
		if ip := n.Address(t, s); !netip.MustParsePrefix("198.18.0.0/15").Contains(ip) {
			t.Errorf("a container has the address %v", ip)
		}
		if s.Addr() != "" {
			t.Errorf("a container that publishes no port has the address %s", s.Addr())
		}
	}
	eventually(t, "b is found by its alias", func() error { return reaches(a, "b") })
	eventually(t, "either is found by the alias of both", func() error { return reaches(a, "both") })

	n.Disconnect(t, b)
	if ip := n.Address(t, b); ip.IsValid() {
		t.Errorf("a container that is out of the network has the address %v there", ip)
	}
	if reaches(a, "b") == nil {
		t.Error("b answers from outside of the network")
	}
	n.Connect(t, b, "again")
	eventually(t, "b is found again", func() error { return reaches(a, "again") })
}

func TestPortOfNetwork(t *testing.T) {
	needsEngine(t)
	mesh, control := NewNetwork(t, true), NewNetwork(t, false)
	s := redis(t, func(spec *Spec) { spec.Networks = map[*Network][]string{mesh: {"a"}, control: {"a"}} })
	answer(t, s, "PING", "+PONG")
	mesh.Disconnect(t, s)
	answer(t, s, "PING", "+PONG")
	mesh.Connect(t, s, "a")
	answer(t, s, "PING", "+PONG")
}

func TestNetworksDoNotOverlap(t *testing.T) {
	needsEngine(t)
	const n = 6
	var wg sync.WaitGroup
	names := make([]string, n)
	for i := range n {
		wg.Go(func() {
			network := NewNetwork(t, false)
			ctx, cancel := limited()
			defer cancel()
			info, err := network.engine.NetworkInspect(ctx, network.ID, client.NetworkInspectOptions{})
			if err != nil || len(info.Network.IPAM.Config) != 1 {
				t.Errorf("%v, %v", info, err)
				return
			}
			names[i] = info.Network.IPAM.Config[0].Subnet.String()
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, subnet := range names {
		if seen[subnet] || !strings.HasSuffix(subnet, ".0/24") {
			t.Errorf("the subnets are %v", names)
		}
		seen[subnet] = true
	}
}
