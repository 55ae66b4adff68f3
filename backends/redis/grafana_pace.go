package redis

import (
	"context"
	"sync"
	"time"
)

// paceWindow is what a node may publish before it has heard it. It is well below
// what a server lets wait for a subscriber.
const paceWindow = 4 << 20

// pace counts what was published and not heard. A beat with a number, published
// last, tells by its echo that the rest has arrived.
type pace struct {
	mu      sync.Mutex
	unheard int
	asked   uint64        // the number last given out
	got     uint64        // the one last heard
	heard   chan struct{} // closed and replaced with each
}

func newPace() *pace { return &pace{heard: make(chan struct{})} }

// add counts size bytes, and returns the number to be heard before more is
// published; 0 means none.
func (p *pace) add(size int) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unheard += size; p.unheard < paceWindow {
		return 0
	}
	p.unheard = 0
	p.asked++
	return p.asked
}

// echo notes that the beat with this number was heard.
func (p *pace) echo(number uint64) {
	if number == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = max(p.got, number)
	close(p.heard)
	p.heard = make(chan struct{})
}

func (p *pace) wait(ctx, life context.Context, number uint64) {
	for {
		p.mu.Lock()
		got, heard := p.got, p.heard
		p.mu.Unlock()
		if got >= number {
			return
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return
		case <-life.Done():
			return
		}
	}
}

// hold holds up who has published size bytes, when this node is behind in hearing
// itself.
func (g *grafanaConn) hold(ctx context.Context, size int) {
	number := g.pace.add(size)
	if number == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(missedBeats)*g.timing.beat)
	defer cancel()
	echo := g.beat()
	echo.ID = number
	if g.publishOn(ctx, ownChannel, echo.encode()) == nil {
		g.pace.wait(ctx, g.client.life, number)
	}
}
