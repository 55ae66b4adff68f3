package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/etcd"
	"github.com/clusterchannel/clusterchannel/backends/memberlist"
	"github.com/clusterchannel/clusterchannel/backends/nats"
	"github.com/clusterchannel/clusterchannel/backends/redis"
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
	Err      string
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
	store    *store
	members  func() int
	registry *prometheus.Registry
}

// serve does what it reads, until there is no more.
func serve() {
	n := &node{store: newStore(), registry: prometheus.NewRegistry()}
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

func (n *node) do(o order) (r report, err error) {
	switch o.Do {
	case "open":
		return r, n.open(o)
	case "say":
		n.store.say(o.ID)
	case "arrived":
		r.Arrived = n.store.arrivals()
	case "count":
		r.Counters, err = n.counters()
		r.Gone = r.Counters["alertmanager_cluster_peers_left_total"] + r.Counters["clusterchannel_members_failed_total"]
		return r, err
	case "echo":
		return r, echo(o.Listen)
	case "ping":
		return ping(o)
	}
	if n.members != nil {
		r.Members = n.members()
	}
	r.Records = n.store.count()
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
		p, err := cluster.Create(log, n.registry, o.Listen, "", o.Peers, true,
			cluster.DefaultPushPullInterval, cluster.DefaultGossipInterval, cluster.DefaultTCPTimeout, cluster.DefaultResolvePeersTimeout,
			cluster.DefaultProbeTimeout, cluster.DefaultProbeInterval, nil, true, "links", o.Name)
		if err != nil {
			return err
		}
		n.members, n.store.pass = p.ClusterSize, p.AddState("s", n.store, n.registry).Broadcast
		_ = p.Join(cluster.DefaultReconnectInterval, cluster.DefaultReconnectTimeout) // it keeps trying by itself
		go p.Settle(context.Background(), 10*cluster.DefaultGossipInterval)
		return nil
	}
	open, ok := drivers[o.System]
	if !ok {
		return fmt.Errorf("there is no %q", o.System)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := backend.Open(ctx, backend.Config{Driver: open, Cluster: "links", Name: o.Name, Logger: log, Registerer: n.registry, Params: o.Params})
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
