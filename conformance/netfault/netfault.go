// Package netfault is a TCP proxy that breaks connections on demand. Placed
// between one node and a server, it gives the node one stable address. The test
// can then cut, swallow, stall, delay, slow down or reset that node's traffic
// and no other's.
package netfault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Mode says what a [Proxy] does with bytes.
type Mode int

const (
	Pass    Mode = iota // bytes pass
	Refuse              // connections are reset, new ones as soon as they are accepted
	Swallow             // bytes vanish, connections stay: a half-open link
	Stall               // bytes wait, so that the sender's buffers fill up
)

// Way is a direction through a [Proxy].
type Way int

const (
	ToServer Way = iota // what the node sends
	ToClient            // what the node should hear
)

var bothWays = []Way{ToServer, ToClient}

// Proxy forwards TCP connections to a server. Its methods may be called from
// many goroutines at once.
type Proxy struct {
	listener net.Listener
	target   func() string
	ctx      context.Context
	stop     context.CancelFunc
	wg       sync.WaitGroup

	mu      sync.Mutex
	modes   [2]Mode // by Way
	delay   time.Duration
	rate    int
	changed chan struct{} // closed when a mode changes
	links   map[*link]struct{}
}

// Listen starts a proxy on a free port of the loopback interface. target is
// called for each connection, so the server may move.
func Listen(target func() string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("netfault: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{listener: l, target: target, ctx: ctx, stop: stop, changed: make(chan struct{}), links: map[*link]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns the host:port to connect to. It never changes.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set changes the mode of new and of open connections, in the directions given or
// in both. Refuse is for both, whatever is given. A connection that lost bytes is
// reset once its bytes would pass again, as by a host that has forgotten the
// connection.
func (p *Proxy) Set(m Mode, ways ...Way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(ways) == 0 || m == Refuse {
		ways = bothWays
	}
	for _, w := range ways {
		p.modes[w] = m
	}
	close(p.changed)
	p.changed = make(chan struct{})
	for l := range p.links {
		if m == Refuse || p.passesAgain(l) {
			l.reset()
		}
	}
}

// passesAgain reports whether bytes of l would pass in a direction in which some
// were lost.
func (p *Proxy) passesAgain(l *link) bool {
	for _, w := range bothWays {
		if l.lossy[w] && p.modes[w] != Swallow {
			return true
		}
	}
	return false
}

// Delay holds each chunk of bytes back for d before it passes.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Rate bounds what each connection carries, in bytes a second in each direction;
// 0 lifts the bound.
func (p *Proxy) Rate(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = bytes
}

// Reset resets the open connections, as a server does that is started again.
// New ones may be made at once, if the mode allows it.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Links returns the number of open connections.
func (p *Proxy) Links() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Close resets all connections and releases everything. Further calls return
// the same as the first, or net.ErrClosed.
func (p *Proxy) Close() error {
	p.stop()
	err := p.listener.Close()
	p.Set(Refuse)
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the connection was gone before it was accepted
		}
		l := &link{client: conn.(*net.TCPConn)}
		if !p.add(l) {
			l.reset()
			continue
		}
		p.wg.Go(func() {
			defer p.remove(l)
			p.serve(l)
		})
	}
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses() || p.ctx.Err() != nil {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

// refuses reports whether connections are refused. The caller holds mu.
func (p *Proxy) refuses() bool { return p.modes[ToServer] == Refuse || p.modes[ToClient] == Refuse }

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	l.close()
}

// serve connects l to the server and moves its bytes until either side is done.
func (p *Proxy) serve(l *link) {
	if p.gate(l, ToServer) == Swallow && p.swallows(ToClient) {
		_, _ = io.Copy(io.Discard, l.client) // ends when either side gives up
		return
	}
	var d net.Dialer
	conn, err := d.DialContext(p.ctx, "tcp", p.target())
	if err != nil {
		return
	}
	if !p.attach(l, conn.(*net.TCPConn)) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(l, ToServer, l.server, l.client) })
	wg.Go(func() { p.pump(l, ToClient, l.client, l.server) })
	wg.Wait()
}

func (p *Proxy) swallows(w Way) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.modes[w] == Swallow
}

// attach gives l its other half, unless it was reset meanwhile.
func (p *Proxy) attach(l *link, server *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.server = server
	if l.dead {
		l.reset()
	}
	return !l.dead
}

// pump moves bytes one way. An error resets both ways, the end of the bytes
// closes this one.
func (p *Proxy) pump(l *link, w Way, to, from *net.TCPConn) {
	buf := make([]byte, chunk)
	pace := rate.NewLimiter(rate.Inf, chunk)
	for {
		n, err := from.Read(buf)
		if n > 0 && p.gate(l, w) == Pass {
			pace.SetLimit(p.limit())
			_ = pace.WaitN(p.ctx, n) // it ends early only if the proxy does
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if p.gate(l, w) == Pass {
				_ = to.CloseWrite() // fails only if the other side is gone already
			}
			return
		default:
			p.mu.Lock()
			l.reset()
			p.mu.Unlock()
			return
		}
	}
}

// chunk is how much is moved at a time.
const chunk = 32 << 10

func (p *Proxy) limit() rate.Limit {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate <= 0 {
		return rate.Inf
	}
	return rate.Limit(p.rate)
}

// gate waits while bytes of l are held back in a direction, and reports whether
// they pass or are lost.
func (p *Proxy) gate(l *link, w Way) Mode {
	for {
		p.mu.Lock()
		mode, delay, changed := p.modes[w], p.delay, p.changed
		if mode == Swallow {
			l.lossy[w] = true
		}
		p.mu.Unlock()
		switch {
		case mode == Stall:
			select {
			case <-changed:
			case <-p.ctx.Done():
				return Refuse
			}
		case mode == Pass && delay > 0:
			select {
			case <-time.After(delay):
			case <-p.ctx.Done():
			}
			return Pass
		default:
			return mode
		}
	}
}

// link is one connection through the proxy. Proxy.mu guards its fields, except
// the ends, which do not change once both are set.
type link struct {
	client, server *net.TCPConn
	lossy          [2]bool // bytes of it were swallowed, by Way
	dead           bool
}

// reset drops both ends and what is on its way between them.
func (l *link) reset() {
	l.dead = true
	for _, c := range l.ends() {
		_ = c.SetLinger(0)
	}
	l.close()
}

func (l *link) close() {
	for _, c := range l.ends() {
		_ = c.Close()
	}
}

func (l *link) ends() []*net.TCPConn {
	if l.server == nil {
		return []*net.TCPConn{l.client}
	}
	return []*net.TCPConn{l.client, l.server}
}
