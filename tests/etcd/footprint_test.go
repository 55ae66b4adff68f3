package etcd_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestFootprint measures what idle nodes cost the server, and compares it with
// the package comment: nothing in raft but two writes for each exchange of
// states, and some bytes a second on the wire.
func TestFootprint(t *testing.T) {
	server := start(t)
	client := admin(t, server.Addr())
	writes := func() uint64 {
		t.Helper()
		s, err := client.Status(within(t), server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		return s.RaftIndex
	}
	for name, c := range map[string]struct {
		sync, settle  time.Duration
		least, atMost float64 // writes a second of a node
	}{
		"idle":                   {time.Minute, 12 * time.Second, 0, 0.2}, // one mark at most; what was said is told until then
		"an exchange per second": {time.Second, 2 * time.Second, 1.5, 2.5},
	} {
		t.Run(name, func(t *testing.T) {
			const size, period = 3, 5 * time.Second
			m := newMeter(t, server.Addr())
			var nodes []*node
			for _, name := range []string{"a", "b", "c"}[:size] {
				nodes = append(nodes, open(t, name, endpoints(m.Addr().String()), func(c2 *backend.Config) { c2.Timing.Sync = c.sync }))
			}
			testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
			talk(t, "once", nodes...)
			settle := time.NewTimer(c.settle) // joiners are compared
			<-settle.C
			before, bytes := writes(), m.bytes.Load()
			idle := time.NewTimer(period)
			<-idle.C
			perNode := float64(writes()-before) / size / period.Seconds()
			if perNode < c.least || perNode > c.atMost {
				t.Errorf("%.2f writes a second of a node, want %v to %v", perNode, c.least, c.atMost)
			}
			t.Logf("a node-hour: %.0f writes, %.0f KB on the wire", perNode*3600, float64(m.bytes.Load()-bytes)/size/period.Seconds()*3600/1000)
		})
	}
}

// meter counts what passes on its way to a server.
type meter struct {
	net.Listener
	bytes atomic.Int64
}

func newMeter(t testing.TB, target string) *meter {
	t.Helper()
	m := &meter{Listener: listen(t)}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = m.Close(); wg.Wait() })
	pump := func(to, from net.Conn) {
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			m.bytes.Add(int64(n))
			if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
				_, _ = to.Close(), from.Close()
				return
			}
		}
	}
	wg.Go(func() {
		for {
			conn, err := m.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = conn.Close()
				continue
			}
			wg.Go(func() { pump(server, conn) })
			wg.Go(func() { pump(conn, server) })
		}
	})
	return m
}
