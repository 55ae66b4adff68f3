package container

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestConfined(t *testing.T) {
	s := redis(t, func(s *Spec) {
		s.Confined, s.Volumes = true, []string{"/data", "/conf"}
		s.Files = map[string][]byte{"/conf/redis.conf": []byte("protected-mode no\ndir /data\nenable-protected-configs yes\n")}
		s.Cmd = []string{"redis-server", "/conf/redis.conf"}
	})
	answer(t, s, "SET a 1", "+OK")
	answer(t, s, "SAVE", "+OK")
	if saved := s.File(t, "/data/dump.rdb"); !bytes.HasPrefix(saved, []byte("REDIS")) {
		t.Errorf("the volume holds %q", saved)
	}
	answer(t, s, "CONFIG SET dir /", "+OK")
	answer(t, s, "SAVE", "-ERR")
}

func TestAddressAndGateway(t *testing.T) {
	needsEngine(t)
	n := NewNetwork(t, false)
	want := n.Prefix().Addr().As4()
	want[3] = 77
	s := redis(t, func(s *Spec) {
		s.Networks = map[*Network][]string{n: nil}
		s.Addresses = map[*Network]netip.Addr{n: netip.AddrFrom4(want)}
	})
	if got := n.Address(t, s); got != netip.AddrFrom4(want) {
		t.Errorf("it is at %v, want %v", got, netip.AddrFrom4(want))
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(n.Gateway().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	if err := listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answer(t, s, fmt.Sprintf("REPLICAOF %s %d", n.Gateway(), listener.Addr().(*net.TCPAddr).Port), "+OK")
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(); from != netip.AddrFrom4(want) {
		t.Errorf("it comes from %v", from)
	}
}
