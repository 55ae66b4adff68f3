package grafana

import (
	"context"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// paceWindow is how much a node may publish before it has heard it. It is well
// below what a server queues for a subscriber.
const paceWindow = 4 << 20

// pace counts what was published and not yet heard. The echo of a beat shows
// that everything sent before that beat has arrived.
type pace struct {
	mu      sync.Mutex
	unheard int
	echoed  uint64        // the highest count of a beat that was heard
	heard   chan struct{} // closed and replaced with each
}

func newPace() *pace { return &pace{heard: make(chan struct{})} }

// add counts size bytes, and reports whether they must be heard before more is
// published.
func (p *pace) add(size int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unheard += size; p.unheard < paceWindow {
		return false
	}
	p.unheard = 0
	return true
}

// echo notes that the beat with this count was heard.
func (p *pace) echo(count uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.echoed = max(p.echoed, count)
	close(p.heard)
	p.heard = make(chan struct{})
}

func (p *pace) wait(ctx context.Context, ended <-chan struct{}, count uint64) {
	for {
		p.mu.Lock()
		echoed, heard := p.echoed, p.heard
		p.mu.Unlock()
		if echoed >= count {
			return
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return
		case <-ended:
			return
		}
	}
}

// hold counts size bytes published, and blocks the publisher while this node
// has not yet heard its own recent messages.
func (g *conn) hold(ctx context.Context, size int) {
	if !g.pace.add(size) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, heartbeat.Missed*g.timing.Beat)
	defer cancel()
	b := g.beat()
	if g.publishOn(ctx, ownChannel, b.encode()) == nil {
		g.pace.wait(ctx, g.client.Ended(), b.Count)
	}
}
