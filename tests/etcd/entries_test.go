package etcd_test

import (
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// shelf is a state of numbered entries of one size.
type shelf struct {
	mu   sync.Mutex
	size int
	have map[uint64]bool
}

func (s *shelf) entry(n uint64) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, s.size-8, s.size), n)
}

func (s *shelf) MarshalBinary() ([]byte, error) { return nil, fmt.Errorf("it is taken apart") }

func (s *shelf) Merge(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have[binary.LittleEndian.Uint64(b[len(b)-8:])] = true
	return nil
}

func (s *shelf) EntryIDs() iter.Seq[backend.EntryID] {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.have))
	s.mu.Unlock()
	return func(yield func(backend.EntryID) bool) {
		for _, n := range all {
			var id backend.EntryID
			if binary.LittleEndian.PutUint64(id[:], n); !yield(id) {
				return
			}
		}
	}
}

func (s *shelf) Entry(id backend.EntryID) ([]byte, error) {
	return s.entry(binary.LittleEndian.Uint64(id[:])), nil
}

func (s *shelf) holds(count int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.have) != count {
		return fmt.Errorf("%d of %d entries", len(s.have), count)
	}
	return nil
}

// TestJoinMovesTheStateOnce: a state passes the server once on its way to a joiner,
// whoever compares with the joiner meanwhile, with a tenth for what carries it.
func TestJoinMovesTheStateOnce(t *testing.T) {
	t.Parallel()
	const nodes, entries, size, period = 6, 100_000, 100, 250 * time.Millisecond
	server := start(t)
	open := func(name string, count uint64) *shelf {
		s := &shelf{size: size, have: map[uint64]bool{}}
		for n := range count {
			s.have[n] = true
		}
		n := open(t, name, endpoints(server.Addr()), func(c *backend.Config) { c.Timing.Heartbeat, c.Timing.Sync = period, period })
		if _, err := n.AddState("shelf", s, nil); err != nil {
			t.Fatal(err)
		}
		if err := n.WaitReady(within(t)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	for i := range nodes {
		open(fmt.Sprint("node-", i), entries)
	}
	in, out := grpcBytes(t, server.Addr())
	began := time.Now()
	joined := open("joiner", 0)
	testkit.Eventually(t, 20*time.Second, func() error { return joined.holds(entries) })
	nowIn, nowOut := grpcBytes(t, server.Addr())
	rest := int(time.Since(began)/period+1) * (nodes + 1) * 4 << 10 // leases, watches, comparisons, a mark to all
	t.Logf("%d bytes of entries: %d into the server, %d out of it", entries*size, nowIn-in, nowOut-out)
	if most := entries*size*110/100 + rest; nowIn-in > most || nowOut-out > most {
		t.Errorf("a join with %d bytes of entries moved %d into the server and %d out of it, want at most %d", entries*size, nowIn-in, nowOut-out, most)
	}
}

// grpcBytes asks a server what its clients have sent and received.
func grpcBytes(t testing.TB, addr string) (in, out int) {
	t.Helper()
	return metric(t, addr, "etcd_network_client_grpc_received_bytes_total"), metric(t, addr, "etcd_network_client_grpc_sent_bytes_total")
}
