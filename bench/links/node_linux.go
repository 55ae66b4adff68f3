package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/etcd"
	"github.com/clusterchannel/clusterchannel/backends/memberlist"
	"github.com/clusterchannel/clusterchannel/backends/nats"
	"github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/bench/internal/peer"
)

// order is a line that a node's process reads, and report what it answers.
type order struct {
	Do     string
	System string
	Name   string
	Listen string
	Peers  []string
	Params map[string]string
	Log    string // where the log goes; empty: nowhere
	ID     uint64 // of a record
	Count  int    // of datagrams
	Size   int
	Pace   time.Duration
}

type report struct {
	Members  int
	Records  int
	Arrived  map[uint64]time.Duration
	Gone     float64            // members that were seen to go
	Counters map[string]float64 // what was counted, by name
	Trips    []time.Duration
	Overtook int
	Spread   time.Duration
}

// node is a process's node, of any system.
type node struct {
	*peer.Peer
	registry *prometheus.Registry
}

// kept is how many records a node's state has.
const kept = 1000

// serve does what it reads, until there is no more.
func serve() { peer.Serve((&node{peer.New(kept), prometheus.NewRegistry()}).do) }

func (n *node) do(o order) (r report, err error) {
	switch o.Do {
	case "open":
		return r, n.open(o)
	case "say":
		n.Store.Say(o.ID, payload)
	case "arrived":
		r.Arrived = n.Store.Arrivals()
	case "count":
		r.Counters, err = n.counters()
		r.Gone = r.Counters["alertmanager_cluster_peers_left_total"] + r.Counters["clusterchannel_members_failed_total"]
		return r, err
	case "echo":
		return r, echo(o.Listen)
	case "ping":
		return ping(o)
	}
	if n.Members != nil {
		r.Members = n.Members()
	}
	r.Records = n.Store.Count()
	return r, nil
}

// counters returns the sum of each counter, those at zero left out.
func (n *node) counters() (map[string]float64, error) {
	all := map[string]float64{}
	families, err := n.registry.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if v := m.GetCounter().GetValue(); v > 0 {
				all[f.GetName()] += v
			}
		}
	}
	return all, err
}

var drivers = map[string]driver.OpenFunc{"memberlist": memberlist.Open, "redis": redis.Open, "nats": nats.Open, "etcd": etcd.Open}

func (n *node) open(o order) error {
	log := slog.New(slog.DiscardHandler)
	if o.Log != "" {
		f, err := os.Create(o.Log)
		if err != nil {
			return err
		}
		log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if o.System == theirs {
		return n.OpenTheirs(log, n.registry, "links", o.Name, o.Listen, o.Peers)
	}
	open, ok := drivers[o.System]
	if !ok {
		return fmt.Errorf("there is no %q", o.System)
	}
	return n.Open(backend.Config{Driver: open, Cluster: "links", Name: o.Name, Logger: log, Registerer: n.registry, Params: o.Params})
}
