package memberlist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// courier sends to one member by streams, one after the other, so that a member
// that is slow or away delays no other. What queues up while one is under way goes
// together by the next, since each takes round trips of its own. It goes where the
// member goes: what is queued when its address changes is sent to the new one. What
// it cannot bring there itself it gives to another member to pass on.
type courier struct {
	sender *sender
	member atomic.Pointer[member]
	parcel chan delivery
	bytes  atomic.Int64            // queued
	behind atomic.Bool             // broadcasts do not wait for this member until its queue is empty
	failed atomic.Pointer[failure] // nil: the last stream to it could be made
}

// failure is a stream that could not be made.
type failure struct {
	addr string
	at   time.Time
}

const (
	courierItems = 1024
	courierBytes = 4 * maxFrame
	courierIdle  = 30 * time.Second

	// How long a stream may take to open before another member is asked, on a network
	// with short round trips.
	forwardAfter    = 100 * time.Millisecond
	forwardAfterTLS = 500 * time.Millisecond
)

// delivery is one message on its way.
type delivery struct {
	courier *courier
	message *message
	final   bool // it is not to be passed on by another member
	done    chan error
}

var errCourierFull = errors.New("the queue is full")

func newCourier(s *sender, p *member) *courier {
	c := &courier{sender: s, parcel: make(chan delivery, courierItems)}
	c.member.Store(p)
	return c
}

// queue does not block. It is called with the sender's lock held.
func (c *courier) queue(m *message, final bool) (delivery, error) {
	d := delivery{courier: c, message: m, final: final, done: make(chan error, 1)}
	size := int64(len(m.bytes()))
	if c.bytes.Load() > 0 && c.bytes.Load()+size > courierBytes {
		return delivery{}, fmt.Errorf("memberlist: %s: %w", c.name(), errCourierFull)
	}
	m.hold()
	c.bytes.Add(size)
	select {
	case c.parcel <- d:
		return d, nil
	default:
		m.release()
		c.bytes.Add(-size)
		return delivery{}, fmt.Errorf("memberlist: %s: %w", c.name(), errCourierFull)
	}
}

func (c *courier) name() string { return c.member.Load().node.Name }

// result waits until the message is sent.
func (d delivery) result(ctx context.Context) error {
	if d.courier == nil {
		return nil // it was not even queued
	}
	select {
	case err := <-d.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("memberlist: %s: %w", d.courier.name(), context.Cause(ctx))
	}
}

// run sends until there is nothing to send for a while.
func (c *courier) run() {
	idle := time.NewTimer(courierIdle)
	defer idle.Stop()
	for {
		select {
		case d := <-c.parcel:
			for more := true; more; {
				var load []delivery
				load, d, more = c.load(d)
				c.bring(load)
			}
			if len(c.parcel) == 0 {
				c.behind.Store(false)
			}
			idle.Reset(courierIdle)
		case <-idle.C:
			if c.end() {
				return
			}
			idle.Reset(courierIdle)
		case <-c.sender.stop:
			return
		}
	}
}

// load returns what goes by one stream, in order: first, and what is queued behind it as
// far as it goes together. If more is set, next was taken and goes by another.
func (c *courier) load(first delivery) (load []delivery, next delivery, more bool) {
	load = []delivery{first}
	size := bundled(first)
	for size <= bundleBytes && c.member.Load().bundles {
		select {
		case d := <-c.parcel:
			if size += bundled(d); size > bundleBytes {
				return load, d, true
			}
			load = append(load, d)
		default:
			return load, next, false
		}
	}
	return load, next, false
}

// end removes the courier unless something was queued meanwhile.
func (c *courier) end() bool {
	c.sender.mu.Lock()
	defer c.sender.mu.Unlock()
	if len(c.parcel) > 0 {
		return false
	}
	delete(c.sender.couriers, c.name())
	return true
}

// bring sends what goes by one stream. What neither this node nor another member could
// bring to who is still a member is counted.
func (c *courier) bring(load []delivery) {
	if c.unreachable() {
		load = c.forward(load)
	}
	p := c.member.Load()
	if slices.ContainsFunc(load, func(d delivery) bool { return !d.final }) && c.sender.mayForward(p) {
		if c.stream(load, c.sender.patience(p)) == nil {
			c.settle(load, nil)
			return
		}
		load = c.forward(load)
	}
	if len(load) > 0 {
		c.settle(load, c.stream(load, dialTimeout))
	}
}

// forward has other members pass on what they may, and returns the rest.
func (c *courier) forward(load []delivery) []delivery {
	return slices.DeleteFunc(load, func(d delivery) bool {
		passed := !d.final && c.sender.forward(c.member.Load(), d.message.bytes())
		if passed {
			c.settle([]delivery{d}, nil)
		}
		return passed
	})
}

// stream sends a load to where the member is. While that changes, it sends it to where it
// is then.
func (c *courier) stream(load []delivery, patience time.Duration) error {
	m := bundle(load)
	defer m.release()
	for {
		p := c.member.Load()
		err := c.sender.mesh.stream(p, m.bytes(), patience)
		if err == nil {
			c.failed.Store(nil)
			return nil
		}
		if c.member.Load().Addr == p.Addr {
			c.failed.Store(&failure{p.Addr, time.Now()})
			return fmt.Errorf("memberlist: %s: %w", p.node.Name, err)
		}
		patience = dialTimeout
	}
}

// settle ends deliveries, with the error of the stream by which they went.
func (c *courier) settle(load []delivery, err error) {
	p := c.member.Load()
	for _, d := range load {
		b := d.message.bytes()
		if err != nil && c.sender.roster.holds(p.node.Name) && !isQuestion(b) {
			c.sender.gate.do(func(h driver.Handler) { h.Lost(p.Member, err) })
		}
		c.bytes.Add(-int64(len(b)))
		d.message.release()
		d.done <- err
	}
}

// unreachable reports whether a stream to where the member is could not be made a moment
// ago, so that it is not worth the wait to try.
func (c *courier) unreachable() bool {
	f := c.failed.Load()
	return f != nil && f.addr == c.member.Load().Addr && time.Since(f.at) < c.sender.mesh.settings.ReconnectInterval
}
