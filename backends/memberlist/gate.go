package memberlist

import (
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// gate lets calls through to the Handler until it is closed. memberlist has
// goroutines that outlive its Shutdown.
type gate struct {
	handler driver.Handler

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

// do calls f unless the gate is closed.
func (g *gate) do(f func(driver.Handler)) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.calls.Add(1)
	g.mu.Unlock()
	defer g.calls.Done()
	f(g.handler)
}

// close waits for the calls under way. No call begins after it has returned.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.calls.Wait()
}
