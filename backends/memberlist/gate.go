package memberlist

import (
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// gate passes calls to the Handler while the driver serves. memberlist has
// goroutines that outlive its Shutdown.
type gate struct {
	mu      sync.Mutex
	handler driver.Handler // nil while the gate is closed
	calls   sync.WaitGroup
}

// do calls f if the gate is open.
func (g *gate) do(f func(driver.Handler)) {
	g.mu.Lock()
	h := g.handler
	if h == nil {
		g.mu.Unlock()
		return
	}
	g.calls.Add(1)
	g.mu.Unlock()
	defer g.calls.Done()
	f(h)
}

func (g *gate) open(h driver.Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handler = h
}

// close waits for the calls under way. No call begins after it has returned.
func (g *gate) close() {
	g.open(nil)
	g.calls.Wait()
}
