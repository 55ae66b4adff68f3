package nemesis

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance"
)

// buses is a memory backend whose buses can be stopped, and whose open drivers are
// counted.
type buses struct {
	mu    sync.Mutex
	named map[string]*memory.Bus
	open  map[*counted]string // to the cluster
}

func memoryHarness() conformance.Harness {
	b := &buses{named: map[string]*memory.Bus{}, open: map[*counted]string{}}
	return conformance.Harness{
		Backend: "memory",
		Server:  b.server,
		Driver:  func(testing.TB, conformance.Node) driver.OpenFunc { return b.openDriver },
		Params:  func(_ testing.TB, n conformance.Node) map[string]string { return map[string]string{"bus": n.Server} },
		Cut: func(_ testing.TB, x, y conformance.Node, cut bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.named[x.Server].Cut(x.Name, y.Name, cut)
		},
		Residue: b.residue,
		Timing:  conformance.Timing{Detect: 1500 * time.Millisecond},
	}
}

type busServer struct{ *memory.Bus }

func (s busServer) Addr() string     { return s.Name() }
func (s busServer) Stop(testing.TB)  { s.Bus.Stop() }
func (s busServer) Start(testing.TB) { s.Bus.Start() }
func (s busServer) Empty(testing.TB) {}

func (b *buses) server(t testing.TB) conformance.Server {
	bus := memory.NewBus()
	t.Cleanup(bus.Remove)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.named[bus.Name()] = bus
	return busServer{bus}
}

func (b *buses) openDriver(ctx context.Context, o driver.Options) (driver.Driver, error) {
	d, err := memory.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	c := &counted{Driver: d, of: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[c] = o.Cluster
	return c, nil
}

type counted struct {
	driver.Driver
	of *buses
}

func (c *counted) Close(ctx context.Context) error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Driver.Close(ctx)
}

func (b *buses) residue(_ testing.TB, _ conformance.Server, cluster string) (left []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for d, of := range b.open {
		if of == cluster {
			left = append(left, fmt.Sprintf("driver %p", d))
		}
	}
	return left
}

func TestNemesis(t *testing.T) {
	Run(t, memoryHarness(), Options{Seed: 7, For: brief, Length: brief})
}
