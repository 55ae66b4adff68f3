package memory

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Bus connects the nodes of one process. It stands for a broker: it can be
// stopped and started, and nodes can be cut off from each other. Its methods may
// be called from many goroutines at once.
type Bus struct {
	name string

	mu      sync.Mutex
	stopped bool
	conns   map[*conn]struct{}
	cuts    map[[2]string]bool // ordered pairs of node names
}

var buses = struct {
	sync.Mutex
	named map[string]*Bus
	count atomic.Uint64
}{named: map[string]*Bus{}}

// NewBus returns a new bus that nobody else can reach by accident. Free it with
// Remove.
func NewBus() *Bus {
	return lookup(fmt.Sprintf("bus-%d", buses.count.Add(1)))
}

// lookup returns the bus of that name, made on first use.
func lookup(name string) *Bus {
	buses.Lock()
	defer buses.Unlock()
	b := buses.named[name]
	if b == nil {
		b = &Bus{name: name, conns: map[*conn]struct{}{}, cuts: map[[2]string]bool{}}
		buses.named[name] = b
	}
	return b
}

// Name is the value of the parameter bus that selects this bus.
func (b *Bus) Name() string { return b.name }

// Remove forgets the bus; nodes that are attached stay attached.
func (b *Bus) Remove() {
	buses.Lock()
	defer buses.Unlock()
	delete(buses.named, b.name)
}

// Stop disconnects every node and refuses new ones.
func (b *Bus) Stop() {
	b.mu.Lock()
	conns := slices.Collect(maps.Keys(b.conns))
	clear(b.conns)
	b.stopped = true
	b.mu.Unlock()
	for _, c := range conns {
		c.end()
	}
}

// Start lets nodes in again.
func (b *Bus) Start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = false
}

// Cut stops, or restores, the delivery between the nodes named x and y in both
// directions, without telling either. Cutting a node off from itself leaves it
// attached but deaf to its own frames.
func (b *Bus) Cut(x, y string, cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, pair := range [][2]string{{x, y}, {y, x}} {
		if cut {
			b.cuts[pair] = true
		} else {
			delete(b.cuts, pair)
		}
	}
}

func (b *Bus) attach(o driver.Options, p Params) (*conn, error) {
	ended := make(chan struct{})
	c := &conn{
		bus: b, cluster: o.Cluster, name: o.Self.Name, maxFrame: p.MaxFrame, in: make(chan []byte, queueFrames),
		end: sync.OnceFunc(func() { close(ended) }), ended: ended,
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return nil, fmt.Errorf("memory: %w: bus %q: %w", driver.ErrUnavailable, b.name, errStopped)
	}
	b.conns[c] = struct{}{}
	return c, nil
}

func (b *Bus) detach(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
}

// reachable lists the nodes that hear from.
func (b *Bus) reachable(from *conn) []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return nil
	}
	to := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		if c.cluster == from.cluster && !b.cuts[[2]string{from.name, c.name}] {
			to = append(to, c)
		}
	}
	return to
}
