package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// node is one open channel, and its surroundings.
type node struct {
	Node
	backend.ClusterChannel
	env    *env
	config backend.Config
	tap    *wiretap
	proxy  *netfault.Proxy // nil where there is no TCP server
	reg    *prometheus.Registry
	log    *testkit.Log
	self   backend.Member
	gone   atomic.Bool
}

func (n *node) String() string { return fmt.Sprintf("%s(%d)", n.Name, n.ID) }

var lastID atomic.Int64

// open opens a node of the check's own cluster, and ends the check if it cannot.
func (e *env) open(name string, edits ...func(*backend.Config)) *node {
	e.Helper()
	n, err := e.tryOpen(context.Background(), name, edits...)
	if err != nil {
		e.Fatalf("open %s: %v", name, err)
	}
	return n
}

func (e *env) tryOpen(ctx context.Context, name string, edits ...func(*backend.Config)) (*node, error) {
	n, err := e.prepare(name, edits...)
	if err != nil {
		return n, err
	}
	return n, n.start(ctx)
}

// prepare makes everything that a node needs except its channel.
func (e *env) prepare(name string, edits ...func(*backend.Config)) (*node, error) {
	n := &node{
		Node: Node{ID: int(lastID.Add(1)), Name: name, Cluster: e.cluster},
		env:  e, reg: prometheus.NewRegistry(), log: &testkit.Log{},
	}
	n.config = backend.Config{
		Backend: e.h.Backend, Cluster: e.cluster, Name: name, Timing: e.h.Timing.Channel,
		Registerer: n.reg,
		Logger:     slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, edit := range edits {
		edit(&n.config)
	}
	n.Cluster = n.config.Cluster
	if e.server != nil {
		n.Server = e.server.Addr()
		if _, _, err := net.SplitHostPort(n.Server); err == nil {
			server := e.server
			p, err := netfault.Listen(func() string { return server.Addr() })
			if err != nil {
				return n, err
			}
			n.proxy, n.Server = p, p.Addr()
			e.mu.Lock()
			e.proxies = append(e.proxies, p)
			e.mu.Unlock()
		}
	}
	if e.h.Params != nil && n.config.Params == nil {
		n.config.Params = e.h.Params(e, n.Node)
	}
	b, _ := backend.Lookup(e.h.Backend)
	open := b.Open
	if e.h.Driver != nil {
		open = e.h.Driver(e, n.Node)
	}
	n.tap = &wiretap{inner: open}
	n.config.Driver = n.tap.open
	e.mu.Lock()
	defer e.mu.Unlock()
	e.taps = append(e.taps, n)
	return n, nil
}

// start opens the channel of a node that was prepared.
func (n *node) start(ctx context.Context) error {
	e := n.env
	channel, err := e.h.channel(ctx, n.config)
	if err != nil {
		return err
	}
	if channel == nil {
		return errors.New("backend.Open returned neither a channel nor an error")
	}
	n.ClusterChannel = channel
	if v := channel.View(); v.Position >= 0 && v.Position < len(v.Members) {
		n.self = v.Self()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodes = append(e.nodes, n)
	return nil
}

// openAll opens nodes one after another and waits until they agree.
func (e *env) openAll(names ...string) []*node {
	e.Helper()
	nodes := make([]*node, len(names))
	for i, name := range names {
		nodes[i] = e.open(name)
	}
	e.agreed(nodes...)
	return nodes
}

// close leaves the cluster.
func (n *node) close() {
	n.env.Helper()
	n.gone.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), n.env.scaled(closing))
	defer cancel()
	if err := n.Close(ctx); err != nil {
		n.env.Errorf("close %s: %v", n, err)
	}
}

// others returns the open nodes of the check but n.
func (n *node) others() []*node {
	return slices.DeleteFunc(n.env.opened(), func(m *node) bool { return m == n || m.gone.Load() })
}
