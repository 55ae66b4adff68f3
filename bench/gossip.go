package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	ml "github.com/hashicorp/memberlist"
	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	alertmanager   = contender{title: "Alertmanager", mesh: openPeers, node: openPeerToDie}
	bareMemberlist = raw{title: "bare memberlist", open: openBare}
)

// peers is a mesh of Alertmanager's.
type peers struct {
	addr  string // of the first
	nodes []*amPeer
}

type amPeer struct {
	*cluster.Peer
	store   *store
	channel cluster.ClusterChannel
}

func openPeers(_ place, n int) (mesh, error) {
	m := &peers{}
	for range n {
		if _, err := m.add(); err != nil {
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func openPeerToDie(_ place, where string) error {
	_, err := (&peers{addr: where}).add()
	return err
}

func (m *peers) add() (*amPeer, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	var known []string
	if m.addr != "" {
		known = []string{m.addr}
	} else {
		m.addr = addr
	}
	reg := prometheus.NewRegistry()
	p, err := cluster.Create(silent, reg, addr, "", known, true,
		cluster.DefaultPushPullInterval, cluster.DefaultGossipInterval, cluster.DefaultTCPTimeout, cluster.DefaultResolvePeersTimeout,
		cluster.DefaultProbeTimeout, cluster.DefaultProbeInterval, nil, false, "bench", "")
	if err != nil {
		return nil, err
	}
	n := &amPeer{Peer: p, store: newStore()}
	n.channel = p.AddState("bench", n.store, reg)
	pass := n.channel.Broadcast
	n.store.pass.Store(&pass)
	_ = p.Join(cluster.DefaultReconnectInterval, cluster.DefaultReconnectTimeout) // it keeps trying by itself
	m.nodes = append(m.nodes, n)
	return n, nil
}

func (m *peers) broadcast(b []byte) { m.nodes[0].channel.Broadcast(b) }
func (m *peers) where() string      { return m.addr }
func (m *peers) heard() int64       { return 0 }

func (m *peers) burst(all [][]byte) {
	for _, b := range all {
		m.broadcast(b)
	}
}

func (m *peers) stores() []*store {
	all := make([]*store, len(m.nodes))
	for i, n := range m.nodes {
		all[i] = n.store
	}
	return all
}

func (m *peers) members() []int {
	counts := make([]int, len(m.nodes))
	for i, p := range m.nodes {
		counts[i] = p.ClusterSize()
	}
	return counts
}

func (m *peers) join() (*store, error) {
	n, err := m.add()
	if err != nil {
		return nil, err
	}
	n.Settle(context.Background(), 10*cluster.DefaultGossipInterval)
	return n.store, n.WaitReady(context.Background())
}

func (m *peers) leave() func() error {
	last := len(m.nodes) - 1
	n := m.nodes[last]
	m.nodes = m.nodes[:last]
	return func() error { return n.Leave(10 * time.Second) }
}

func (m *peers) close() {
	for _, p := range m.nodes {
		_ = p.Leave(time.Second) // the others may be gone already
	}
}

// bare hands every message to a store.
type bare struct{ s *store }

func (b bare) NodeMeta(int) []byte             { return nil }
func (b bare) NotifyMsg(m []byte)              { _ = b.s.Merge(m) }
func (b bare) GetBroadcasts(_, _ int) [][]byte { return nil }
func (b bare) LocalState(bool) []byte          { return nil }
func (b bare) MergeRemoteState([]byte, bool)   {}

// bareMesh is memberlist with nothing around it: one node sends to each other
// by memberlist's own calls, by UDP if the message fits a packet.
type bareMesh struct {
	store  func() *store
	nodes  []*ml.Memberlist
	others []*ml.Node
	all    []*store
}

func openBare(_ place, n int, s func() *store) (line, error) {
	m := &bareMesh{store: s}
	for i := range n {
		if err := m.add(i); err != nil {
			m.close()
			return nil, err
		}
	}
	if !await(time.Minute, func() bool { return m.nodes[0].NumMembers() == n }) {
		m.close()
		return nil, fmt.Errorf("bare memberlist: %d members", m.nodes[0].NumMembers())
	}
	m.others = slices.DeleteFunc(m.nodes[0].Members(), func(o *ml.Node) bool { return o.Name == "node-0" })
	return m, nil
}

func (m *bareMesh) add(i int) error {
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	s := m.store()
	c := ml.DefaultLANConfig()
	c.Name, c.BindAddr, c.LogOutput = "node-"+strconv.Itoa(i), host, io.Discard
	c.Delegate, c.EnableCompression = bare{s}, false
	if c.BindPort, err = strconv.Atoi(port); err != nil {
		return err
	}
	c.AdvertisePort = c.BindPort
	node, err := ml.Create(c)
	if err != nil {
		return err
	}
	m.nodes, m.all = append(m.nodes, node), append(m.all, s)
	if i > 0 {
		_, err = node.Join([]string{m.nodes[0].LocalNode().Address()})
	}
	return err
}

func (m *bareMesh) broadcast(b []byte) {
	if !cluster.OversizedMessage(b) {
		for _, o := range m.others {
			_ = m.nodes[0].SendBestEffort(o, b) // a loss shows as missing
		}
		return
	}
	var sends sync.WaitGroup
	for _, o := range m.others {
		sends.Go(func() { _ = m.nodes[0].SendReliable(o, b) })
	}
	sends.Wait()
}

func (m *bareMesh) burst(all [][]byte) {
	for _, b := range all {
		m.broadcast(b)
	}
}

func (m *bareMesh) stores() []*store { return m.all }

func (m *bareMesh) close() {
	for _, n := range m.nodes {
		_ = n.Shutdown() // always nil
	}
}

var (
	_ mesh = (*peers)(nil)
	_ line = (*bareMesh)(nil)
)
