package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memberlist"
)

// order is a line that a node's process reads, and report what it answers.
type order struct {
	Do     string
	System string
	Name   string
	Listen string
	Peers  []string
	ID     uint64 // of a record
	Size   int
}

type report struct {
	Err     string
	Members int
	Records int
	Heap    uint64        // the largest
	After   time.Duration // since the record's time of writing
	Has     bool
}

// store is a state of records: a number, when it was written, and bytes.
type store struct {
	pass func([]byte)

	mu   sync.Mutex
	have map[uint64][]byte
	at   map[uint64]time.Time
	heap uint64
}

func (s *store) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	for _, r := range s.have {
		size += len(r)
	}
	b := make([]byte, 0, size)
	for _, r := range s.have {
		b = append(b, r...)
	}
	return b, nil
}

// Digest makes store a backend.Digester.
func (s *store) Digest() (sum uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.have {
		sum += (id + 1) * 0x9e3779b97f4a7c15
	}
	return sum, nil
}

const headBytes = 20 // size, number, time

func record(id uint64, size int) []byte {
	b := make([]byte, headBytes, headBytes+size)
	binary.LittleEndian.PutUint32(b, uint32(headBytes+size))
	binary.LittleEndian.PutUint64(b[4:], id)
	binary.LittleEndian.PutUint64(b[12:], uint64(time.Now().UnixNano()))
	for i := range size {
		b = append(b, byte(uint64(i)*(id+7)>>3))
	}
	return b
}

func (s *store) Merge(b []byte) error {
	pass := s.pass
	if cluster.OversizedMessage(b) {
		pass = nil
	}
	for len(b) >= headBytes {
		n := int(binary.LittleEndian.Uint32(b))
		if n < headBytes || n > len(b) {
			return fmt.Errorf("a record of %d bytes", n)
		}
		id := binary.LittleEndian.Uint64(b[4:])
		s.mu.Lock()
		_, known := s.have[id]
		if !known {
			s.have[id] = append([]byte(nil), b[:n]...)
			s.at[id] = time.Now()
		}
		s.mu.Unlock()
		if !known && pass != nil {
			pass(b[:n])
		}
		b = b[n:]
	}
	return nil
}

// node is a process's node, of either system.
type node struct {
	store   *store
	members func() int
}

// serve does what it reads, until there is no more.
func serve() {
	n := &node{store: &store{have: map[uint64][]byte{}, at: map[uint64]time.Time{}}}
	go n.measure()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if in.Decode(&o) != nil {
			return
		}
		r, err := n.do(o)
		if err != nil {
			r.Err = err.Error()
		}
		if out.Encode(r) != nil {
			return
		}
	}
}

func (n *node) measure() {
	for range time.Tick(20 * time.Millisecond) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		n.store.mu.Lock()
		n.store.heap = max(n.store.heap, m.HeapAlloc)
		n.store.mu.Unlock()
	}
}

func (n *node) do(o order) (r report, err error) {
	switch o.Do {
	case "open":
		return r, n.open(o)
	case "put":
		return r, n.store.Merge(record(o.ID, o.Size))
	case "say":
		b := record(o.ID, o.Size)
		pass := n.store.pass
		n.store.pass = nil
		err := n.store.Merge(b)
		n.store.pass = pass
		pass(b)
		return r, err
	case "forget":
		runtime.GC()
		n.store.mu.Lock()
		n.store.heap = 0
		n.store.mu.Unlock()
	}
	if n.members != nil {
		r.Members = n.members()
	}
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	r.Records, r.Heap = len(n.store.have), n.store.heap
	if b, ok := n.store.have[o.ID]; ok {
		r.Has = true
		r.After = n.store.at[o.ID].Sub(time.Unix(0, int64(binary.LittleEndian.Uint64(b[12:]))))
	}
	return r, nil
}

var silent = slog.New(slog.DiscardHandler)

func (n *node) open(o order) error {
	if o.System == "Alertmanager" {
		reg := prometheus.NewRegistry()
		p, err := cluster.Create(silent, reg, o.Listen, "", o.Peers, true,
			cluster.DefaultPushPullInterval, cluster.DefaultGossipInterval, cluster.DefaultTCPTimeout, cluster.DefaultResolvePeersTimeout,
			cluster.DefaultProbeTimeout, cluster.DefaultProbeInterval, nil, true, "split", o.Name)
		if err != nil {
			return err
		}
		n.members, n.store.pass = p.ClusterSize, p.AddState("s", n.store, reg).Broadcast
		_ = p.Join(cluster.DefaultReconnectInterval, cluster.DefaultReconnectTimeout) // it keeps trying by itself
		go p.Settle(context.Background(), 10*cluster.DefaultGossipInterval)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := backend.Open(ctx, backend.Config{
		Driver: memberlist.Open, Cluster: "split", Name: o.Name, Logger: silent,
		Params: map[string]string{"listen_address": o.Listen, "peers": strings.Join(o.Peers, ",")},
	})
	if err != nil {
		return err
	}
	channel, err := c.AddState("s", n.store, nil)
	if err != nil {
		return errors.Join(err, c.Close(ctx))
	}
	n.members, n.store.pass = func() int { return len(c.Members()) }, channel.Broadcast
	return nil
}
