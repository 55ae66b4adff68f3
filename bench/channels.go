package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/etcd"
	"github.com/clusterchannel/clusterchannel/backends/memberlist"
	"github.com/clusterchannel/clusterchannel/backends/nats"
	"github.com/clusterchannel/clusterchannel/backends/redis"
)

// backends are the drivers under test.
var backends = map[string]driver.OpenFunc{"memberlist": memberlist.Open, "redis": redis.Open, "nats": nats.Open, "etcd": etcd.Open}

// ours is this project's channel over any backend, and light is the same with
// states that keep nothing.
var (
	ours  = contender{title: "clusterchannel", mesh: seatsOf(newStore), node: openSeatToDie}
	light = contender{title: "clusterchannel", mesh: seatsOf(newCounter)}
)

// seats is a mesh of this project's nodes.
type seats struct {
	place   place
	cluster string
	peer    string // memberlist: where to join
	nodes   []*seat
	frames  *atomic.Int64 // received by all nodes; nil: the server counts
	stateOf func() *store
	share   func(*store) backend.State // how its state is shared; nil: as it is, and what is new is passed on
	compare time.Duration              // how often states are compared; 0: the default
	meter   *meter                     // of what the nodes say; nil: it is not looked at
}

// seat is one node.
type seat struct {
	backend.ClusterChannel
	store    *store
	channel  backend.Channel
	registry *prometheus.Registry
}

// seatsOf opens meshes whose nodes have such states.
func seatsOf(state func() *store) func(place, int) (mesh, error) {
	return func(p place, n int) (mesh, error) {
		m := &seats{place: p, cluster: "bench-" + rand.Text()[:8], stateOf: state}
		if p.Backend == "redis" {
			m.frames = new(atomic.Int64)
		}
		for range n {
			if _, err := m.add(); err != nil {
				m.close()
				return nil, err
			}
		}
		return m, nil
	}
}

func openSeatToDie(p place, where string) error {
	m := &seats{place: p, cluster: where, peer: where, stateOf: newStore}
	_, err := m.add()
	return err
}

func (m *seats) add() (*seat, error) {
	registry := prometheus.NewRegistry()
	c := backend.Config{
		Backend: m.place.Backend, Cluster: m.cluster, Name: "node-" + rand.Text()[:5], Logger: silent, Registerer: registry,
		Driver: m.driver(),
	}
	c.Timing.Sync = m.compare
	if err := m.aim(&c); err != nil {
		return nil, err
	}
	node, err := backend.Open(context.Background(), c)
	if err != nil {
		return nil, err
	}
	s := &seat{ClusterChannel: node, store: m.stateOf(), registry: registry}
	var state backend.State = s.store
	if m.share != nil {
		state = m.share(s.store)
	}
	if s.channel, err = node.AddState("bench", state, nil); err != nil {
		return nil, err
	}
	if m.place.Server.Addr == "" && m.share == nil {
		pass := s.channel.Broadcast
		s.store.pass.Store(&pass)
	}
	m.nodes = append(m.nodes, s)
	return s, nil
}

// ready waits until each node has the states of the others.
func (m *seats) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), memberPatience)
	defer cancel()
	for _, s := range m.nodes {
		if err := s.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// aim sets where a node finds the others.
func (m *seats) aim(c *backend.Config) error {
	if m.place.Server.Addr != "" {
		c.Params = map[string]string{"address": m.place.Server.Addr}
		return nil
	}
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	c.Cluster = "bench"
	c.Params = map[string]string{"listen_address": addr}
	if m.peer == "" {
		m.peer = addr
		return nil
	}
	c.Params["peers"] = m.peer
	return nil
}

// driver opens the backend's driver, and counts the frames that it hands over.
func (m *seats) driver() driver.OpenFunc {
	open := backends[m.place.Backend]
	if m.frames == nil && m.meter == nil {
		return open
	}
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := open(ctx, o)
		if err != nil {
			return d, err
		}
		if m.meter != nil {
			d = metered{d, o.Self.Instance, m.meter}
		}
		if m.frames != nil {
			d = counted{d, m.frames}
		}
		return d, nil
	}
}

type counted struct {
	driver.Driver
	frames *atomic.Int64
}

func (c counted) Serve(ctx context.Context, h driver.Handler) error {
	return c.Driver.Serve(ctx, counting{h, c.frames})
}

type counting struct {
	driver.Handler
	frames *atomic.Int64
}

func (c counting) Frame(b []byte) {
	c.frames.Add(1)
	c.Handler.Frame(b)
}

func (m *seats) broadcast(b []byte) { m.nodes[0].channel.Broadcast(b) }

func (m *seats) burst(all [][]byte) {
	for _, b := range all {
		m.broadcast(b)
	}
}

func (m *seats) stores() []*store {
	all := make([]*store, len(m.nodes))
	for i, n := range m.nodes {
		all[i] = n.store
	}
	return all
}

func (m *seats) members() []int {
	counts := make([]int, len(m.nodes))
	for i, n := range m.nodes {
		counts[i] = len(n.Members())
	}
	return counts
}

func (m *seats) where() string {
	if m.place.Server.Addr == "" {
		return m.peer
	}
	return m.cluster
}

func (m *seats) heard() int64 {
	if m.frames == nil {
		return 0
	}
	return m.frames.Load()
}

func (m *seats) join() (*store, error) {
	s, err := m.add()
	if err != nil {
		return nil, err
	}
	return s.store, s.WaitReady(context.Background())
}

func (m *seats) leave() func() error {
	last := len(m.nodes) - 1
	n := m.nodes[last]
	m.nodes = m.nodes[:last]
	return func() error { return closeSeat(n) }
}

func closeSeat(n backend.ClusterChannel) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return n.Close(ctx)
}

func (m *seats) close() {
	var wg sync.WaitGroup
	for _, n := range m.nodes {
		wg.Go(func() {
			if err := closeSeat(n); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
		})
	}
	wg.Wait()
}

var _ mesh = (*seats)(nil)
