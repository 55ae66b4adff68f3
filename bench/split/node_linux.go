package main

import (
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memberlist"
	"github.com/clusterchannel/clusterchannel/bench/internal/peer"
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
	Members int
	Records int
	Heap    uint64        // the largest
	After   time.Duration // since the record's time of writing
	Has     bool
}

// node is a process's node, of either system.
type node struct {
	*peer.Peer
	heap atomic.Uint64 // the largest
}

// serve does what it reads, until there is no more.
func serve() {
	n := &node{Peer: peer.New(0)}
	go n.measure()
	peer.Serve(n.do)
}

func (n *node) measure() {
	for range time.Tick(20 * time.Millisecond) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		n.heap.Store(max(n.heap.Load(), m.HeapAlloc))
	}
}

func (n *node) do(o order) (r report, err error) {
	switch o.Do {
	case "open":
		return r, n.open(o)
	case "put":
		n.Store.Put(o.ID, o.Size)
	case "say":
		n.Store.Say(o.ID, o.Size)
	case "forget":
		runtime.GC()
		n.heap.Store(0)
	}
	if n.Members != nil {
		r.Members = n.Members()
	}
	r.Records, r.Heap = n.Store.Count(), n.heap.Load()
	r.After, r.Has = n.Store.Arrival(o.ID)
	return r, nil
}

var silent = slog.New(slog.DiscardHandler)

func (n *node) open(o order) error {
	if o.System == "Alertmanager" {
		return n.OpenTheirs(silent, prometheus.NewRegistry(), "split", o.Name, o.Listen, o.Peers)
	}
	return n.Open(backend.Config{
		Driver: memberlist.Open, Cluster: "split", Name: o.Name, Logger: silent,
		Params: map[string]string{"listen_address": o.Listen, "peers": strings.Join(o.Peers, ",")},
	})
}
