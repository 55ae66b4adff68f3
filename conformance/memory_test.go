package conformance

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

func TestMemory(t *testing.T) { Run(t, memoryHarness()) }

// TestMemoryInChunks uses a transport with small frames, as brokers have, in virtual
// time: there no check may fail, whatever the machine does.
func TestMemoryInChunks(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := memoryHarness()
				params := h.Params
				h.Params = func(t testing.TB, n Node) map[string]string {
					p := params(t, n)
					p["max_frame"] = "65536"
					return p
				}
				c.run(t, newSuite(t, h))
			})
		})
	}
}

func memoryHarness() Harness {
	m := &memoryRun{buses: map[string]*memory.Bus{}, open: map[*countedDriver]string{}}
	return Harness{
		Backend: "memory",
		Server:  m.server,
		Driver:  func(testing.TB, Node) driver.OpenFunc { return m.openDriver },
		Params:  func(_ testing.TB, n Node) map[string]string { return map[string]string{"bus": n.Server} },
		Bad: map[string]map[string]string{
			"max_frame": {"max_frame": "a lot"},
			"password":  {"password": Secret},
		},
		Cut:     func(_ testing.TB, a, b Node, cut bool) { m.bus(a.Server).Cut(a.Name, b.Name, cut) },
		Inject:  inject,
		Residue: m.residue,
		Timing:  Timing{Detect: 1500 * time.Millisecond},
	}
}

// memoryRun is the buses of one run, and the drivers that are open on them.
type memoryRun struct {
	mu    sync.Mutex
	buses map[string]*memory.Bus
	open  map[*countedDriver]string // to the cluster
}

// busServer is a bus as a server. It stores nothing.
type busServer struct{ bus *memory.Bus }

func (s busServer) Addr() string     { return s.bus.Name() }
func (s busServer) Stop(testing.TB)  { s.bus.Stop() }
func (s busServer) Start(testing.TB) { s.bus.Start() }
func (s busServer) Empty(testing.TB) {}

func (m *memoryRun) server(t testing.TB) Server {
	b := memory.NewBus()
	t.Cleanup(b.Remove)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.buses[b.Name()] = b
	return busServer{b}
}

func (m *memoryRun) bus(name string) *memory.Bus {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buses[name]
}

func (m *memoryRun) openDriver(ctx context.Context, o driver.Options) (driver.Driver, error) {
	d, err := memory.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	counted := &countedDriver{Driver: d, run: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open[counted] = o.Cluster
	return counted, nil
}

type countedDriver struct {
	driver.Driver
	run *memoryRun
}

func (d *countedDriver) Close(ctx context.Context) error {
	err := d.Driver.Close(ctx)
	d.run.mu.Lock()
	defer d.run.mu.Unlock()
	delete(d.run.open, d)
	return err
}

func inject(t testing.TB, s Server, cluster string, frame []byte) {
	o := driver.Options{Cluster: cluster, Self: driver.Member{Name: "stranger"}, Params: map[string]string{"bus": s.Addr()}}
	d, err := memory.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Broadcast(context.Background(), frame); err != nil {
		t.Error(err)
	}
	if err := d.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func (m *memoryRun) residue(_ testing.TB, _ Server, cluster string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var left []string
	for d, of := range m.open {
		if of == cluster {
			left = append(left, fmt.Sprintf("driver %p", d))
		}
	}
	return left
}
