package nemesis

import (
	"sync"

	"github.com/clusterchannel/clusterchannel/conformance"
)

// cuts are the links between two nodes that Harness.Cut has cut. They are counted
// by names, so a node that comes back while its name is cut off is cut off too.
type cuts struct {
	mu      sync.Mutex
	count   map[pair]int
	applied map[pair][][2]conformance.Node
}

// pair is two names in order.
type pair [2]string

func pairOf(a, b string) pair {
	if a > b {
		a, b = b, a
	}
	return pair{a, b}
}

func newCuts() *cuts {
	return &cuts{count: map[pair]int{}, applied: map[pair][][2]conformance.Node{}}
}

// cut cuts a off from the others until end is called.
func (c *cuts) cut(w *world, a string, others ...string) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range others {
		p := pairOf(a, b)
		c.count[p]++
		c.apply(w, p, w.living(a), w.living(b))
	}
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, b := range others {
			p := pairOf(a, b)
			if c.count[p]--; c.count[p] > 0 {
				continue
			}
			for _, nodes := range c.applied[p] {
				w.h.Cut(w.tb, nodes[0], nodes[1], false)
			}
			delete(c.applied, p)
		}
	})
}

// joined cuts a new node off, where its name is.
func (c *cuts) joined(w *world, n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, count := range c.count {
		if count > 0 && p[0] == n.Name {
			c.apply(w, p, n, w.living(p[1]))
		} else if count > 0 && p[1] == n.Name {
			c.apply(w, p, w.living(p[0]), n)
		}
	}
}

func (c *cuts) apply(w *world, p pair, a, b *node) {
	if a == nil || b == nil {
		return
	}
	c.applied[p] = append(c.applied[p], [2]conformance.Node{a.Node, b.Node})
	w.h.Cut(w.tb, a.Node, b.Node, true)
}
