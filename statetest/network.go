package statetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// network carries the frames of a cluster: a bus that can also send to one node. It loses
// frames, and cuts nodes off from each other.
type network struct {
	mu     sync.Mutex
	rand   *rand.Rand
	loss   float64            // part of all frames
	twice  float64            // part of all frames that come twice
	late   time.Duration      // how late a frame is at most; those to one node keep their order
	cut    map[[2]string]bool // from the name of one node to that of another
	groups map[string]int     // nodes of different groups do not reach each other
	links  []*link
}

// slack is how many frames wait for a node that does not read.
const slack = 4096

var errBehind = errors.New("the node is too far behind")

// link is the driver of one node.
type link struct {
	net  *network
	self driver.Member
	dead bool // the node was killed: nothing leaves it any more

	queue []arrival
	last  time.Time // when the latest arrives
	wake  chan struct{}
}

// arrival is a frame that arrives at some time.
type arrival struct {
	at    time.Time
	frame []byte
}

func newNetwork(r *rand.Rand) *network {
	return &network{rand: r, cut: map[[2]string]bool{}, groups: map[string]int{}}
}

// open is the driver.OpenFunc.
func (n *network) open(_ context.Context, o driver.Options) (driver.Driver, error) {
	l := &link{net: n, self: o.Self, wake: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links = append(n.links, l)
	return l, nil
}

// change changes how the network is.
func (n *network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// heal has all frames arrive again.
func (n *network) heal() {
	n.change(func() {
		n.loss, n.twice, n.late = 0, 0, 0
		clear(n.cut)
		clear(n.groups)
	})
}

// kill has nothing leave a node any more, and nothing arrive there.
func (n *network) kill(name string) {
	n.change(func() {
		for _, l := range n.links {
			l.dead = l.dead || l.self.Name == name
		}
	})
}

// deliver has a frame arrive, as the network is. mu is held.
func (n *network) deliver(from, to *link, frame []byte) {
	switch a, b := from.self.Name, to.self.Name; {
	case from.dead || to.dead || n.cut[[2]string{a, b}] || n.groups[a] != n.groups[b] && a != b:
		return
	case a != b && n.rand.Float64() < n.loss || len(to.queue) >= slack:
		return
	}
	at := time.Now()
	if n.late > 0 {
		at = at.Add(time.Duration(n.rand.Int64N(int64(n.late))))
	}
	if at.Before(to.last) {
		at = to.last
	}
	to.last = at
	to.queue = append(to.queue, arrival{at, frame})
	if n.rand.Float64() < n.twice {
		to.queue = append(to.queue, arrival{at, frame})
	}
	select {
	case to.wake <- struct{}{}:
	default:
	}
}

// Caps implements driver.Driver.
func (l *link) Caps() driver.Caps { return driver.Caps{Send: l.send} }

func (l *link) send(_ context.Context, to driver.Member, frame []byte) error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for _, other := range l.net.links {
		if other.self.Instance == to.Instance {
			if len(other.queue) >= slack {
				return fmt.Errorf("%w: %w", driver.ErrUnavailable, errBehind)
			}
			l.net.deliver(l, other, slices.Clone(frame))
			return nil
		}
	}
	return fmt.Errorf("%w: there is no node %q", driver.ErrUnavailable, to.Instance)
}

// Broadcast implements driver.Driver.
func (l *link) Broadcast(_ context.Context, frame []byte) error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	frame = slices.Clone(frame)
	for _, to := range l.net.links {
		l.net.deliver(l, to, frame)
	}
	return nil
}

// Serve implements driver.Driver.
func (l *link) Serve(ctx context.Context, h driver.Handler) error {
	h.Link(nil)
	for {
		l.net.mu.Lock()
		queue := l.queue
		l.queue = nil
		l.net.mu.Unlock()
		for _, a := range queue {
			if d := time.Until(a.at); d > 0 {
				select {
				case <-time.After(d):
				case <-ctx.Done():
					return nil
				}
			}
			h.Frame(a.frame)
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// Close implements driver.Driver.
func (l *link) Close(context.Context) error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.net.links = slices.DeleteFunc(l.net.links, func(o *link) bool { return o == l })
	return nil
}

var _ driver.Driver = (*link)(nil)
