package etcd_test

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
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
	for name, c := range map[string]struct {
		sync, settle  time.Duration
		least, atMost float64 // writes a second of a node
	}{
		"idle":                   {time.Minute, 12 * time.Second, 0, 0.2}, // one mark at most; what was said is told until then
		"an exchange per second": {time.Second, 2 * time.Second, 1.5, 2.5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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

// TestFootprintOfUpdates measures what updates cost the server: a write each, or
// less where they queue up, of little more than their bytes.
func TestFootprintOfUpdates(t *testing.T) {
	t.Parallel()
	const updates, size, pace = 200, 200, 20 * time.Millisecond
	server := start(t)
	client := admin(t, server.Addr())
	nodes := []*node{open(t, "a", endpoints(server.Addr())), open(t, "b", endpoints(server.Addr())), open(t, "c", endpoints(server.Addr()))}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	talk(t, "once", nodes...)
	status := func() (writes uint64, stored int64) {
		t.Helper()
		s, err := client.Status(within(t), server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		return s.RaftIndex, s.DbSize
	}
	writes, stored := status()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	last := ""
	for i := range updates {
		last = fmt.Sprintf("%0*d", size, i)
		nodes[i%3].say(last)
		<-tick.C
	}
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(nodes[0].heard(last), nodes[1].heard(last), nodes[2].heard(last)) })
	now, storedNow := status()
	t.Logf("%d updates of %d bytes: %d writes, and %d bytes more in the store", updates, size, now-writes, storedNow-stored)
	if most := uint64(updates + updates/5); now-writes > most {
		t.Errorf("%d updates cost %d writes, want at most %d", updates, now-writes, most)
	}
	if most := int64(updates*size*5 + 256<<10); storedNow-stored > most { // the store grows by leaps
		t.Errorf("%d updates of %d bytes made the store grow by %d, want at most %d", updates, size, storedNow-stored, most)
	}
}

// TestLogIsBounded sends many times what a small log may hold. The server keeps a
// hundred to two hundred writes in memory, each no larger than max_frame.
func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	const updates, size = 200, 1 << 20
	server := start(t, "--snapshot-count", "100", "--snapshot-catchup-entries", "100")
	params := endpoints(server.Addr())
	params["lease_ttl"] = "30s" // a machine that is so busy loses no member for it
	n, other := open(t, "a", params), open(t, "b", params)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(n, other) })
	before, least := heapOf(t, server.Addr()), math.MaxInt
	for i := range updates {
		if i > updates/2 {
			least = min(least, heapOf(t, server.Addr())) // without garbage
		}
		word := fmt.Sprint(strings.Repeat("x", size), i)
		n.say(word)
		testkit.Eventually(t, 20*time.Second, func() error { return other.heard(word) })
		n.forget(word) // else a link that is lost costs an exchange of all of them
		other.forget(word)
	}
	s, err := admin(t, server.Addr()).Status(within(t), server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if s.DbSize < updates*size {
		t.Fatalf("of %d updates of %d bytes the server has stored %d bytes", updates, size, s.DbSize)
	}
	const most = 2 * 200 * 64 << 10 // as raft's entry, and decoded
	if now := least - before; now > 2*most {
		t.Errorf("%d updates of %d bytes take %d MiB of etcd's heap, want at most %d", updates, size, now>>20, 2*most>>20)
	}
}

// heapOf asks a server for the size of its heap.
func heapOf(t testing.TB, addr string) int {
	t.Helper()
	return metric(t, addr, "go_memstats_heap_inuse_bytes")
}

// metric asks a server for one of its metrics, which has no labels.
func metric(t testing.TB, addr, name string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is read
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
	}
	t.Fatalf("the server does not tell its %s", name)
	return 0
}

// TestHeavyLogIsTold puts more into etcd's log than an operator may have reckoned
// with.
func TestHeavyLogIsTold(t *testing.T) {
	t.Parallel()
	server := start(t)
	client := admin(t, server.Addr())
	n := open(t, "a", endpoints(server.Addr()))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })
	frame := strings.Repeat("x", 1<<20)
	for range 130 {
		put(t, client, prefix+cluster+"/frames/stranger", frame)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		for _, trouble := range n.ClusterChannel.(backend.Inspector).Inspect().Troubles {
			if trouble.What == "etcd memory" && strings.Contains(trouble.Err.Error(), "128MiB") {
				return n.log.has("etcd memory")
			}
		}
		return errors.New("nothing is told")
	})
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
