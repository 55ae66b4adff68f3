package once_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/once"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The periods of the tests, which are the defaults.
const (
	turn     = 5 * time.Second
	limit    = time.Minute
	grace    = 10 * time.Second
	crash    = 3 * time.Second // seen within
	moment   = 100 * time.Millisecond
	patience = 10 * time.Minute
)

// fleet is a cluster, and what was done in it.
type fleet struct {
	t     *testing.T
	bus   *memory.Bus
	opts  once.Options
	nodes map[string]*node
	all   []*node // those too that have stopped
	kept  *[]byte // nil: states are not kept

	payload int                      // the largest; 0: the default
	apart   map[string]time.Duration // by name: how far ahead of the time a node's clock is

	mu   sync.Mutex
	done map[string][]*node // by key: those that did it, in order
}

// node is one run of a node.
type node struct {
	fleet    *fleet
	name     string
	cluster  backend.ClusterChannel
	group    *once.Group
	registry *prometheus.Registry
	stopped  bool
}

// cluster runs f in virtual time with a cluster of nodes that have settled.
func cluster(t *testing.T, o once.Options, names string, f func(t *testing.T, c *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bus := memory.NewBus()
		defer bus.Remove()
		c := &fleet{t: t, bus: bus, opts: o, nodes: map[string]*node{}, done: map[string][]*node{}}
		for _, name := range names {
			c.start(string(name))
		}
		defer c.end()
		for _, n := range c.nodes {
			if err := n.cluster.WaitReady(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		f(t, c)
	})
}

// start starts a node.
func (c *fleet) start(name string) *node {
	c.t.Helper()
	n := &node{fleet: c, name: name, registry: prometheus.NewRegistry()}
	var err error
	n.cluster, err = backend.Open(c.t.Context(), backend.Config{
		Backend: "memory", Cluster: "once", Name: name, Params: map[string]string{"bus": c.bus.Name()}, Logger: quiet, MaxPayload: c.payload,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	o := c.opts
	o.Logger, o.Registerer = quiet, n.registry
	if ahead := c.apart[name]; ahead != 0 {
		o.Now = func() time.Time { return time.Now().Add(ahead) }
	}
	if n.group, err = once.New(keeping{n.cluster, c.kept}, &o); err != nil {
		c.t.Fatal(err)
	}
	c.nodes[name] = n
	c.all = append(c.all, n)
	return n
}

// keeping is a node whose state is kept when it is removed, as by package persist.
type keeping struct {
	backend.ClusterChannel
	kept *[]byte
}

func (k keeping) AddState(key string, s backend.State, o *backend.StateOptions) (backend.Channel, error) {
	channel, err := k.ClusterChannel.AddState(key, s, o)
	if err != nil || k.kept == nil {
		return channel, err
	}
	if *k.kept != nil {
		err = s.Merge(*k.kept)
	}
	return saving{channel, s, k.kept}, err
}

// saving is the channel of a state that is kept.
type saving struct {
	backend.Channel
	state backend.State
	kept  *[]byte
}

func (s saving) Remove() {
	s.Channel.Remove()
	*s.kept, _ = s.state.MarshalBinary()
}

var quiet = slog.New(slog.DiscardHandler)

// stop stops a node, which says goodbye.
func (n *node) stop() {
	if n.stopped {
		return
	}
	n.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.group.Close(ctx); err != nil && !errors.Is(err, once.ErrUntold) { // it may be cut off
		n.fleet.t.Error(err)
	}
	if err := n.cluster.Close(ctx); err != nil {
		n.fleet.t.Error(err)
	}
}

func (c *fleet) end() {
	for _, n := range c.all {
		n.stop()
	}
}

// cut has a node reach nobody, and nobody it, as if it had crashed; or heals that.
func (c *fleet) cut(name string, cut bool) {
	for other := range c.nodes {
		c.bus.Cut(name, other, cut)
	}
}

func (c *fleet) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// noted returns work that takes a time and notes who did it.
func (n *node) noted(key string, took time.Duration) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		if took > 0 {
			timer := time.NewTimer(took)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		n.fleet.mu.Lock()
		defer n.fleet.mu.Unlock()
		n.fleet.done[key] = append(n.fleet.done[key], n)
		return []byte("by " + n.name), nil
	}
}

// doers returns who did a key, in order.
func (c *fleet) doers(key string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, n := range c.done[key] {
		names = append(names, n.name)
	}
	return names
}

// lost reports whether all that did a key have stopped: where they could reach nobody
// until then, what they did is forgotten.
func (c *fleet) lost(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.ContainsFunc(c.done[key], func(n *node) bool { return !n.stopped })
}

// call is one call of Do.
type call struct {
	n      *node
	result once.Result
	err    error
	took   time.Duration
	ended  chan struct{}
}

// do calls Do on a node, on a goroutine of its own.
func (n *node) do(ctx context.Context, key string, f func(context.Context) ([]byte, error)) *call {
	c := &call{n: n, ended: make(chan struct{})}
	start := time.Now()
	go func() {
		defer close(c.ended)
		c.result, c.err = n.group.Do(ctx, key, f)
		c.took = time.Since(start)
	}()
	return c
}

// wait waits for the end of a call.
func (c *call) wait() *call {
	c.n.fleet.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		c.n.fleet.t.Fatalf("%s: Do has not returned", c.n.name)
	}
	return c
}

// succeeds waits for a call, whose result must be of that node, after about that time.
func (c *call) succeeds(by string, after time.Duration) {
	c.n.fleet.t.Helper()
	c.wait()
	if c.err != nil || c.result.By != by || string(c.result.Value) != "by "+by || c.result.Here != (by == c.n.name) {
		c.n.fleet.t.Errorf("%s has %+v (%s), %v; want a result of %s", c.n.name, c.result, c.result.Value, c.err, by)
	}
	if c.took < after || c.took > after+moment {
		c.n.fleet.t.Errorf("%s has its result after %v, want %v", c.n.name, c.took, after)
	}
}

// order returns a key of which the members' order is that of the names.
func (c *fleet) key(order string) string {
	for i := 0; ; i++ {
		key, have := fmt.Sprintf("key-%d", i), ""
		v := backend.View{}
		for _, name := range order {
			v.Members = append(v.Members, backend.Member{Name: string(name), Instance: string(name)})
		}
		for m := range v.Order(key) {
			have += m.Name
		}
		if have == order {
			return key
		}
	}
}

// metric returns the sum of a counter's series with those label values.
func (n *node) metric(name string, values ...string) (sum float64) {
	n.fleet.t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		n.fleet.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]bool{}
			for _, l := range m.GetLabel() {
				have[l.GetValue()] = true
			}
			if !slices.ContainsFunc(values, func(v string) bool { return !have[v] }) {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// doubled is how often it was counted, on all nodes.
func (c *fleet) doubled() (sum float64) {
	for _, n := range c.all {
		if !n.stopped {
			sum += n.metric("clusterchannel_once_doubled_total")
		}
	}
	return sum
}
