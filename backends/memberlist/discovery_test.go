package memberlist

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// zone answers for names as a name server does.
type zone struct {
	mu    sync.Mutex
	addrs map[string][]netip.Addr
	err   error
	asked int
}

func (z *zone) set(err error, host string, addrs ...netip.Addr) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.err, z.addrs = err, map[string][]netip.Addr{host: addrs}
}

func (z *zone) count() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked
}

func (z *zone) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	if z.err != nil {
		return nil, z.err
	}
	if len(z.addrs[host]) == 0 {
		return noNames(ctx, host)
	}
	return z.addrs[host], nil
}

func TestHeadlessService(t *testing.T) {
	z := &zone{}
	ips := []netip.Addr{newHost(), newHost(), newHost()}
	named := func(i int) spec {
		return spec{
			name: string(rune('a' + i)), cluster: "c", listen: netip.AddrPortFrom(ips[i], 9094).String(), hooks: hooks{resolve: z.resolve},
			params: map[string]string{"peers": "service.test:9094", "peers_resolve_interval": "100ms", "reconnect_interval": "100ms"},
		}
	}
	// No address yet: the node waits before it takes itself for the first.
	began := time.Now()
	a := start(t, named(0))
	agree(t, a)
	if waited := time.Since(began); waited < nameTimeout/2 {
		t.Errorf("it is attached, alone, after %v", waited)
	}
	// A name server that fails is not.
	b := start(t, named(1))
	agree(t, b)
	// All addresses, our own among them; one does not answer yet.
	z.set(nil, "service.test", ips...)
	agree(t, a, b)
	c := start(t, named(2))
	agree(t, a, b, c)
}

func TestNameServerFails(t *testing.T) {
	z := &zone{err: &net.DNSError{Err: "server misbehaving", Name: "service.test", IsTemporary: true}}
	ip := newHost()
	peer := start(t, spec{name: "b", cluster: "c", listen: netip.AddrPortFrom(ip, 9094).String()})
	a := start(t, spec{name: "a", cluster: "c", hooks: hooks{resolve: z.resolve}, params: map[string]string{"peers": "service.test:9094", "reconnect_interval": "50ms"}})
	testkit.Eventually(t, 5*time.Second, func() error {
		if l := a.lastLink(); !strings.Contains(l, "service.test:9094") || !strings.Contains(l, "server misbehaving") {
			return fmt.Errorf("link %q", l)
		}
		return nil
	})
	asked := z.count()
	testkit.Eventually(t, 5*time.Second, func() error {
		if z.count() < asked+3 {
			return errors.New("it is not asked again")
		}
		return nil
	})
	z.set(nil, "service.test", ip)
	agree(t, a, peer)
}

func TestAddressesChange(t *testing.T) {
	z := &zone{}
	old, now := newHost(), newHost()
	z.set(nil, "peer.test", old)
	a := start(t, spec{name: "a", cluster: "c", hooks: hooks{resolve: z.resolve}, params: map[string]string{"peers": "peer.test:9094", "peers_resolve_interval": "100ms"}})
	b := start(t, spec{name: "b", cluster: "c", listen: netip.AddrPortFrom(old, 9094).String()})
	agree(t, a, b)
	b.crash()
	b = start(t, spec{name: "b", cluster: "c", listen: netip.AddrPortFrom(now, 9094).String()})
	z.set(nil, "peer.test", now)
	agree(t, a, b)
}

func TestNobodyAnswers(t *testing.T) {
	ips := []string{newHost().String() + ":9094", newHost().String() + ":9094"}
	a := start(t, spec{name: "a", cluster: "c", params: map[string]string{"peers": strings.Join(ips, ",")}})
	testkit.Eventually(t, 5*time.Second, func() error {
		l := a.lastLink()
		for _, text := range append(ips, "none of the 2 configured peers answers", "connection refused") {
			if !strings.Contains(l, text) {
				return fmt.Errorf("link %q does not say %q", l, text)
			}
		}
		return nil
	})
	if v := a.view(); v != "a" {
		t.Errorf("members %q, want a", v)
	}
	b := start(t, spec{name: "b", cluster: "c", listen: ips[1]})
	agree(t, a, b)
}

func TestIPv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this host has no IPv6: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	a := start(t, spec{name: "a", cluster: "c", listen: "[::1]:0"})
	b := start(t, spec{name: "b", cluster: "c", listen: "[::1]:0", params: map[string]string{"peers": a.trans.advertise.String()}})
	agree(t, a, b)
	if !strings.HasPrefix(a.trans.advertise.String(), "[::1]:") {
		t.Errorf("advertised: %v", a.trans.advertise)
	}
	frame := []byte("\x0aby IPv6")
	if err := a.Broadcast(t.Context(), frame); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 5*time.Second, func() error {
		if b.got(frame) == 0 {
			return errors.New("b has no frame")
		}
		return nil
	})
}

func TestNameInPeers(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c", listen: "127.0.0.1:0"})
	b := start(t, spec{name: "b", cluster: "c", listen: "127.0.0.1:0", params: map[string]string{"peers": fmt.Sprintf("localhost:%d", a.mesh.settings.listen.Port())}})
	agree(t, a, b)
}

func TestUnspecifiedAddress(t *testing.T) {
	a, err := tryStart(t, spec{name: "a", cluster: "c", listen: "0.0.0.0:0", params: map[string]string{"advertise_address": "lo"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.trans.advertise.Addr().String(); got != "127.0.0.1" {
		t.Errorf("advertised: %s", got)
	}
	b := start(t, spec{name: "b", cluster: "c", listen: "127.0.0.1:0", params: map[string]string{"peers": a.trans.advertise.String()}})
	agree(t, a, b)
}
