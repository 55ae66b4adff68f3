package statetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
)

// heals is how long after the last fault all states are equal, at the latest. Views that
// came apart are to become one first, and then each node compares its states.
const heals = 3 * time.Minute

// Simulate puts states that maker makes into clusters of real nodes, in virtual time, on a
// network that is broken at random: frames are lost, come twice and late, single ways and
// whole groups are cut, nodes leave, die and come back empty, while the states change. Then
// the network heals, and all states must become equal, without a call of them that failed.
//
// Each cluster is a sub-test and a testing/synctest bubble, in which maker is called, first
// for the law of Check that is about makers. The steps and their times are those of the
// seed; what goroutines do at one time is not, so that a failure is seen again by the same
// seed nearly always.
func Simulate(t *testing.T, maker Maker, o *SimulateOptions) {
	t.Helper()
	f := o.filled()
	if err := f.usable(maker); err != nil {
		t.Fatal(err)
	}
	for seed := f.Seed; seed < f.Seed+uint64(f.Runs); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := simulate(t, maker, f, seed); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// simulate is one run, in a bubble.
func simulate(t testing.TB, maker Maker, o SimulateOptions, seed uint64) error {
	r := newRound(t, maker, (*Options)(nil).filled(), seed, 1)
	err := apart(r)
	if r.end(); err != nil {
		return fmt.Errorf("maker: %w", err)
	}
	c := newCluster(t, maker, o, seed)
	defer c.end()
	if err := c.run(); err != nil {
		return fmt.Errorf("%w\n\nSee it again by SimulateOptions{Seed: %d, Runs: 1, Nodes: %d, For: %d}. What was done:\n%s", err, seed, o.Nodes, o.For, c.steps.String())
	}
	return nil
}

// cluster is one run.
type cluster struct {
	t     testing.TB
	maker Maker
	rand  *rand.Rand
	net   *network
	last  time.Duration
	began time.Time
	at    time.Duration // when the step is due, which one before it may delay
	names []string
	nodes map[string]*node // that are up, by name
	ended []*node
	steps strings.Builder
}

// node is a member with a seat in the cluster.
type node struct {
	*member
	seat     backend.ClusterChannel
	registry *prometheus.Registry
}

func newCluster(t testing.TB, maker Maker, o SimulateOptions, seed uint64) *cluster {
	r := rand.New(rand.NewPCG(seed, 2))
	c := &cluster{t: t, maker: maker, rand: r, net: newNetwork(rand.New(rand.NewPCG(seed, 3))), last: o.For, began: time.Now(), nodes: map[string]*node{}}
	n := o.Nodes
	if n == 0 {
		n = 3 + r.IntN(3)
	}
	for i := range n {
		c.names = append(c.names, fmt.Sprintf("node-%02d", i))
	}
	return c
}

// run breaks the cluster, heals it, and looks at what is held.
func (c *cluster) run() error {
	for _, name := range c.names {
		if err := c.start(name); err != nil {
			return err
		}
	}
	for {
		if c.at += time.Duration(c.rand.Int64N(int64(time.Second))); c.at > c.last {
			break
		}
		<-time.After(time.Until(c.began.Add(c.at)))
		if err := c.step(); err != nil {
			return err
		}
	}
	c.note("heal")
	c.net.heal()
	for _, name := range c.names {
		if err := c.start(name); err != nil {
			return err
		}
	}
	held, err := c.held()
	if err != nil {
		return err
	}
	if err := c.converge(); err != nil {
		return err
	}
	if err := c.failures(); err != nil {
		return err
	}
	return c.complete(held)
}

func (c *cluster) note(format string, args ...any) {
	fmt.Fprintf(&c.steps, "%10v %s\n", c.at.Round(time.Millisecond), fmt.Sprintf(format, args...))
}

// step does one thing: most often it changes a state.
func (c *cluster) step() error {
	name, other := c.names[c.rand.IntN(len(c.names))], c.names[c.rand.IntN(len(c.names))]
	switch d := c.rand.IntN(100); {
	case d < 70:
		own := rand.New(rand.NewPCG(c.rand.Uint64(), 4)) // the steps do not depend on what a change draws
		n := c.nodes[name]
		if n == nil {
			return nil
		}
		c.note("%s changes", name)
		return n.change(own)
	case d < 78:
		on := c.rand.IntN(2) == 0
		c.note("the way from %s to %s is cut: %v", name, other, on)
		c.net.change(func() { c.net.cut[[2]string{name, other}] = on && name != other })
	case d < 84:
		loss, twice, late := c.rand.Float64()*0.4, c.rand.Float64()*0.2, time.Duration(c.rand.Int64N(int64(200*time.Millisecond)))
		c.note("%.0f%% of frames are lost, %.0f%% come twice, up to %v late", 100*loss, 100*twice, late)
		c.net.change(func() { c.net.loss, c.net.twice, c.net.late = loss, twice, late })
	case d < 88:
		at := c.rand.IntN(len(c.names))
		c.note("%v are cut off", c.names[:at])
		c.net.change(func() {
			for i, name := range c.names {
				c.net.groups[name] = min(1, max(0, at-i))
			}
		})
	case d < 92:
		c.note("heal")
		c.net.heal()
	case d < 96:
		return c.start(name)
	case d < 98:
		return c.stop(name, "leaves", false)
	default:
		return c.stop(name, "is killed", true)
	}
	return nil
}

// start starts a node that is down, with an empty state.
func (c *cluster) start(name string) error {
	if c.nodes[name] != nil {
		return nil
	}
	c.note("%s starts", name)
	registry := prometheus.NewRegistry()
	seat, err := backend.Open(c.t.Context(), backend.Config{
		Backend: "simulated", Cluster: "statetest", Name: name, Driver: c.net.open,
		Logger: slog.New(slog.DiscardHandler), Registerer: registry, Timing: backend.Timing{Sync: 10 * time.Second},
	})
	if err != nil {
		return err
	}
	m := &member{Subject: c.maker(c.t), patience: patience}
	n := &node{m, seat, registry}
	c.nodes[name] = n
	if m.Attach == nil {
		if _, err := seat.AddState("state", m.State, nil); err != nil {
			return err
		}
		return m.known()
	}
	return m.attach(seat)
}

// stop ends a node, by a goodbye or as a crash does.
func (c *cluster) stop(name, how string, kill bool) error {
	n := c.nodes[name]
	if n == nil {
		return nil
	}
	c.note("%s %s", name, how)
	delete(c.nodes, name)
	c.ended = append(c.ended, n)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if kill {
		c.net.kill(name)
	}
	err := n.seat.Close(ctx)
	n.end()
	if kill {
		return nil // nobody asks a process that was killed
	}
	return err
}

func (c *cluster) end() {
	for _, name := range c.names {
		_ = c.stop(name, "ends", true) // the outcome is known
	}
}

// held returns what each state marshals.
func (c *cluster) held() (all [][]byte, err error) {
	for _, name := range c.names {
		b, err := c.nodes[name].marshal()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, b)
	}
	return all, nil
}

// converge waits until all states are equal.
func (c *cluster) converge() error {
	var err error
	for deadline := time.Now().Add(heals); ; {
		<-time.After(time.Second)
		synctest.Wait()
		if err = c.equal(); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("converge: all states become equal once the network has healed: %v later: %w", heals, err)
	}
	return nil
}

func (c *cluster) equal() error {
	first := c.nodes[c.names[0]]
	for _, name := range c.names[1:] {
		if err := same(first.member, c.nodes[name].member); err != nil {
			return fmt.Errorf("%s and %s: %w", c.names[0], name, err)
		}
	}
	return nil
}

// complete wants what the states held when the network healed to be in what they hold now.
func (c *cluster) complete(held [][]byte) error {
	n := c.nodes[c.names[0]]
	before, err := n.look()
	if err != nil {
		return err
	}
	for _, b := range held {
		if err := n.merge(b); err != nil {
			return err
		}
	}
	after, err := n.look()
	if err != nil {
		return err
	}
	if text := before.differs(after); text != "" {
		return fmt.Errorf("complete: what a member held when the network healed, all hold: %w", errors.New(text))
	}
	return nil
}

// failures wants no call of a state to have failed.
func (c *cluster) failures() error {
	nodes := slices.Clone(c.ended)
	for _, name := range c.names {
		nodes = append(nodes, c.nodes[name])
	}
	for _, n := range nodes {
		families, err := n.registry.Gather()
		if err != nil {
			return err
		}
		for _, f := range families {
			if f.GetName() != "clusterchannel_state_errors_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				if v := m.GetCounter().GetValue(); v > 0 {
					return fmt.Errorf("no call fails: %v calls of a state failed or panicked: %v", v, m.GetLabel())
				}
			}
		}
	}
	return nil
}
