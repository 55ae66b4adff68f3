package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports are below those that the system hands out by itself (from 32768 on
// Linux, from 49152 elsewhere), so that no connection uses one while its server
// is stopped.
const (
	firstPort = 20000
	portCount = 12000
)

// Port returns a TCP port of 127.0.0.1 that is free, and stays with the test: no
// other call, in this process or another one, returns it until t has ended. A
// UDP socket on the same port marks it as used; the system closes the socket
// with the process.
func Port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(portCount)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		mark, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp4", addr)
		if err != nil {
			_ = mark.Close()
			continue
		}
		_ = l.Close()
		t.Cleanup(func() { _ = mark.Close() })
		return port
	}
	t.Fatal("process: no port is free")
	return 0
}
