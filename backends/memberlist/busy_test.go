package memberlist

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// counting counts the streams that its node opens, and the packets that it sends.
type counting struct {
	ml.NodeAwareTransport
	streams, packets atomic.Int64
}

func (c *counting) DialAddressTimeout(a ml.Address, timeout time.Duration) (net.Conn, error) {
	c.streams.Add(1)
	return c.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

func (c *counting) WriteToAddress(b []byte, a ml.Address) (time.Time, error) {
	c.packets.Add(1)
	return c.NodeAwareTransport.WriteToAddress(b, a)
}

// Where answers are late, many find at once that a member has not answered. They look for
// it together: a look of each would make the answers later.
func TestManyLookTogether(t *testing.T) {
	var out *counting
	a := start(t, spec{name: "a", cluster: "c", hooks: hooks{wrap: func(inner ml.NodeAwareTransport) ml.NodeAwareTransport {
		out = &counting{NodeAwareTransport: inner}
		return out
	}}})
	b := start(t, spec{name: "b", cluster: "c", params: map[string]string{"peers": a.addr}})
	agree(t, a, b)
	p := a.roster.find(t.Context(), b.self.Instance)
	const asking = 64
	const most = asking / 4 // of which are those that this node opens anyway
	for name, c := range map[string]struct {
		look  func() bool
		spent *atomic.Int64
	}{
		"knock": {func() bool { return a.mesh.knock(p, 5*time.Second) }, &out.streams},
		"reach": {func() bool { return a.roster.reach(p) }, &out.packets},
	} {
		before := c.spent.Load()
		var all sync.WaitGroup
		begin := make(chan struct{})
		for range asking {
			all.Go(func() {
				<-begin
				if !c.look() {
					t.Errorf("%s: b is not found", name)
				}
			})
		}
		close(begin)
		all.Wait()
		if n := c.spent.Load() - before; n > most {
			t.Errorf("%s: %d streams or packets for %d who ask at once, want at most %d", name, n, asking, most)
		}
	}
}

// Who has looked for a member and found nobody looks for another only after a while.
func TestALookForNobodyKeepsItsSlot(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c", params: map[string]string{"probe_interval": "200ms", "probe_timeout": "100ms"}})
	b := start(t, spec{name: "b", cluster: "c", params: map[string]string{"peers": a.addr}})
	agree(t, a, b)
	there := a.roster.find(t.Context(), b.self.Instance)
	if !a.roster.look(there) {
		t.Error("b is not found")
	}
	if n := len(a.roster.seeking) + len(a.roster.vetting); n != 0 {
		t.Errorf("a look for who is there keeps %d slots", n)
	}
	gone := *there
	gone.node.Name = strings.Replace(there.node.Name, "b", "z", 1)
	gone.node.Addr = net.IPv4(127, 18, 0, 1) // where nobody is
	gone.Addr = gone.node.Address()
	if a.roster.look(&gone) {
		t.Error("who is not there is found")
	}
	always(t, time.Second, func() error {
		if n := len(a.roster.seeking) + len(a.roster.vetting); n != 1 {
			return fmt.Errorf("a look for nobody keeps %d slots, want 1", n)
		}
		return nil
	})
}

// Peers that never answer are tried each second, and do not keep a node from trying a
// failed member that is none.
func TestDeadPeersHideNoFailedMember(t *testing.T) {
	var peers []string
	for range maxFailedDue + 1 {
		peers = append(peers, netip.AddrPortFrom(newHost(), 9094).String()) // where nothing listens
	}
	a := start(t, spec{name: "a", cluster: "c", params: map[string]string{"peers": strings.Join(peers, ",")}})
	lone := netip.AddrPortFrom(newHost(), 9094)
	a.roster.mu.Lock()
	for _, addr := range append(peers, lone.String()) {
		p := &member{Member: driver.Member{Name: addr, Instance: addr, Addr: addr}}
		p.node.Name = addr
		a.roster.failed[addr] = p
	}
	a.roster.mu.Unlock()
	listener, err := net.Listen("tcp", lone.String())
	if err != nil {
		t.Fatal(err)
	}
	tried := make(chan struct{})
	go func() {
		defer close(tried)
		if conn, err := listener.Accept(); err == nil {
			_ = conn.Close() // that it came is enough
		}
	}()
	defer func() { <-tried }()
	defer func() { _ = listener.Close() }() // which ends Accept
	select {
	case <-tried:
	case <-time.After(15 * time.Second):
		t.Error("a failed member is not tried")
	}
}
