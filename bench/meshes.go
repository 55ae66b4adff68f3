package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	ml "github.com/hashicorp/memberlist"
	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist"
)

// kind is an implementation under test.
type kind string

const (
	alertmanagerKind kind = "alertmanager"
	channelKind      kind = "clusterchannel"
	bareKind         kind = "memberlist"
)

// open opens a mesh of n nodes.
func (k kind) open(n int) (mesh, error) {
	if k == alertmanagerKind {
		return alertmanagers(n)
	}
	return channels(n)
}

var silent = slog.New(slog.DiscardHandler)

// freeAddress returns an address of loopback that is free for TCP and UDP.
func freeAddress() (string, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := l.Addr().String()
		u, err := net.ListenPacket("udp", addr)
		if cerr := l.Close(); cerr != nil {
			return "", cerr
		}
		if err == nil {
			return addr, u.Close()
		}
	}
}

// seats is a mesh of ours.
type seats struct {
	addrs []string
	nodes []backend.ClusterChannel
	all   []*store
	first backend.Channel
}

func channels(n int) (mesh, error) {
	m := &seats{}
	for range n {
		if _, err := m.add(); err != nil {
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func (m *seats) add() (*store, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	node, s, c, err := openSeat(addr, m.addrs)
	if err != nil {
		return nil, err
	}
	if m.first == nil {
		m.first = c
	}
	m.addrs, m.nodes, m.all = append(m.addrs, addr), append(m.nodes, node), append(m.all, s)
	return s, nil
}

func openSeat(addr string, peers []string) (backend.ClusterChannel, *store, backend.Channel, error) {
	params := map[string]string{"listen_address": addr}
	if len(peers) > 0 {
		params["peers"] = peers[0]
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, nil, err
	}
	node, err := backend.Open(context.Background(), backend.Config{
		Backend: "memberlist", Cluster: "bench", Name: "node-" + port, Params: params, Logger: silent, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, nil, nil, err
	}
	s := newStore()
	c, err := node.AddState("bench", s, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	pass := c.Broadcast
	s.pass.Store(&pass)
	return node, s, c, nil
}

func (m *seats) broadcast(b []byte) { m.first.Broadcast(b) }
func (m *seats) stores() []*store   { return m.all }
func (m *seats) address() string    { return m.addrs[0] }

func (m *seats) members() []int {
	counts := make([]int, len(m.nodes))
	for i, n := range m.nodes {
		counts[i] = len(n.Members())
	}
	return counts
}

func (m *seats) join() (*store, error) {
	s, err := m.add()
	if err != nil {
		return nil, err
	}
	return s, m.nodes[len(m.nodes)-1].WaitReady(context.Background())
}

func (m *seats) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, n := range m.nodes {
		if err := n.Close(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
}

// peers is a mesh of Alertmanager's.
type peers struct {
	addrs []string
	nodes []*cluster.Peer
	all   []*store
	first cluster.ClusterChannel
}

func alertmanagers(n int) (mesh, error) {
	m := &peers{}
	for range n {
		if _, err := m.add(); err != nil {
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func (m *peers) add() (*store, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, s, c, err := openPeer(addr, m.addrs)
	if err != nil {
		return nil, err
	}
	if m.first == nil {
		m.first = c
	}
	m.addrs, m.nodes, m.all = append(m.addrs, addr), append(m.nodes, p), append(m.all, s)
	return s, nil
}

func openPeer(addr string, known []string) (*cluster.Peer, *store, cluster.ClusterChannel, error) {
	reg := prometheus.NewRegistry()
	p, err := cluster.Create(silent, reg, addr, "", known[:min(len(known), 1)], true,
		cluster.DefaultPushPullInterval, cluster.DefaultGossipInterval, cluster.DefaultTCPTimeout, cluster.DefaultResolvePeersTimeout,
		cluster.DefaultProbeTimeout, cluster.DefaultProbeInterval, nil, false, "bench", "")
	if err != nil {
		return nil, nil, nil, err
	}
	s := newStore()
	c := p.AddState("bench", s, reg)
	pass := c.Broadcast
	s.pass.Store(&pass)
	_ = p.Join(cluster.DefaultReconnectInterval, cluster.DefaultReconnectTimeout) // it tries on by itself
	return p, s, c, nil
}

func (m *peers) broadcast(b []byte) { m.first.Broadcast(b) }
func (m *peers) stores() []*store   { return m.all }
func (m *peers) address() string    { return m.addrs[0] }

func (m *peers) members() []int {
	counts := make([]int, len(m.nodes))
	for i, p := range m.nodes {
		counts[i] = p.ClusterSize()
	}
	return counts
}

func (m *peers) join() (*store, error) {
	s, err := m.add()
	if err != nil {
		return nil, err
	}
	p := m.nodes[len(m.nodes)-1]
	p.Settle(context.Background(), 10*cluster.DefaultGossipInterval)
	return s, p.WaitReady(context.Background())
}

func (m *peers) close() {
	for _, p := range m.nodes {
		_ = p.Leave(time.Second) // the others may be gone already
	}
}

// runNode is the process that joins a mesh to be killed.
func runNode(ctx context.Context, k kind, peer string) error {
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	if k == alertmanagerKind {
		_, _, _, err = openPeer(addr, []string{peer})
	} else {
		_, _, _, err = openSeat(addr, []string{peer})
	}
	if err == nil {
		<-ctx.Done()
	}
	return err
}

// bare hands every message to a store.
type bare struct{ s *store }

func (b bare) NodeMeta(int) []byte             { return nil }
func (b bare) NotifyMsg(m []byte)              { _ = b.s.Merge(m) }
func (b bare) GetBroadcasts(_, _ int) [][]byte { return nil }
func (b bare) LocalState(bool) []byte          { return nil }
func (b bare) MergeRemoteState([]byte, bool)   {}

// measureBare measures memberlist's own sends from one node to each other.
func measureBare(n int, p plan) (map[string]cell, error) {
	m, err := openBare(n)
	if err != nil {
		return nil, err
	}
	defer m.close()
	cells := map[string]cell{}
	var id uint64
	cells[rowP50], cells[rowP99], id = oneByOne(m, p)
	m.reliable = true
	cells[rowLarge], _ = large(m, id)
	return cells, nil
}

func openBare(n int) (*bareMesh, error) {
	m := &bareMesh{}
	for i := range n {
		if err := m.add(i); err != nil {
			m.close()
			return nil, err
		}
	}
	if !await(time.Minute, agreed(m, n)) {
		m.close()
		return nil, fmt.Errorf("members: %v", m.members())
	}
	m.others = slices.DeleteFunc(m.nodes[0].Members(), func(o *ml.Node) bool { return o.Name == "node-0" })
	return m, nil
}

// bareMesh is memberlist with nothing around it.
type bareMesh struct {
	nodes    []*ml.Memberlist
	others   []*ml.Node
	all      []*store
	reliable bool
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
	s := newStore()
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
		_, err = node.Join([]string{m.address()})
	}
	return err
}

func (m *bareMesh) broadcast(b []byte) {
	if !m.reliable {
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

func (m *bareMesh) stores() []*store      { return m.all }
func (m *bareMesh) address() string       { return m.nodes[0].LocalNode().Address() }
func (m *bareMesh) join() (*store, error) { return nil, errors.ErrUnsupported }

func (m *bareMesh) members() []int {
	counts := make([]int, len(m.nodes))
	for i, n := range m.nodes {
		counts[i] = n.NumMembers()
	}
	return counts
}

func (m *bareMesh) close() {
	for _, n := range m.nodes {
		_ = n.Shutdown() // always nil
	}
}
