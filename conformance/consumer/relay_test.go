package relay

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Backend: "relay",
		Server:  start,
		Params: func(_ testing.TB, n conformance.Node) map[string]string {
			return map[string]string{"address": n.Server}
		},
		Bad: map[string]map[string]string{
			"address":             {},
			"address with scheme": {"address": "localhost"},
			"password":            {"address": "localhost:1", "password": conformance.Secret},
		},
		Inject:  inject,
		Residue: residue,
		// The hub and all nodes share one process: a node must not miss its own
		// heartbeats while others write what is large.
		Timing: conformance.Timing{Detect: 2 * time.Second, Channel: backend.Timing{Heartbeat: 250 * time.Millisecond}},
	})
}

// server is a hub that can be stopped and started again. It stores nothing.
type server struct {
	mu   sync.Mutex
	hub  *Hub
	addr string
}

func start(t testing.TB) conformance.Server {
	s := &server{addr: "127.0.0.1:0"}
	s.Start(t)
	t.Cleanup(func() { s.Stop(t) })
	return s
}

func (s *server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

func (s *server) Start(t testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hub, err := Listen("127.0.0.1:0") // it may move: the suite's proxies follow Addr
	if err != nil {
		t.Fatal(err)
	}
	s.hub, s.addr = hub, hub.Addr()
}

func (s *server) Stop(testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub.Close()
}

func (s *server) Empty(testing.TB) {}

func inject(t testing.TB, s conformance.Server, cluster string, frame []byte) {
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := say(conn, cluster, frame); err != nil {
		t.Errorf("inject %d bytes into %q: %v", len(frame), cluster, err)
	}
}

// say sends frame to a cluster and waits until the hub has passed it on.
func say(conn net.Conn, cluster string, frame []byte) error {
	if len(frame) > MaxFrame {
		return nil // the hub reads from nobody any more
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	for _, b := range [][]byte{[]byte(cluster), frame} {
		if err := writeFrame(conn, b); err != nil {
			return err
		}
		for heard := false; !heard; {
			back, err := readFrame(conn)
			if err != nil {
				return err
			}
			heard = bytes.Equal(back, b)
		}
	}
	return nil
}

func residue(_ testing.TB, s conformance.Server, cluster string) []string {
	if n := s.(*server).hub.Clients(cluster); n > 0 {
		return []string{fmt.Sprintf("%d clients of %s", n, cluster)}
	}
	return nil
}
