package memberlist

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// courier sends to one member by streams, one after the other, so that a member
// that is slow or away delays no other. It goes where the member goes: what is
// queued when its address changes is sent to the new one. What it cannot bring
// there itself it gives to another member to pass on.
type courier struct {
	sender *sender
	member atomic.Pointer[member]
	parcel chan delivery
	bytes  atomic.Int64 // queued
	behind atomic.Bool  // broadcasts do not wait for this member until its queue is empty
	failed atomic.Int64 // when a stream to it could not be made, in Unix nanoseconds; 0: the last one could
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
			err := c.bring(d)
			c.bytes.Add(-int64(len(d.message.bytes())))
			d.message.release()
			d.done <- err
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

// bring sends a message, and counts it if neither this node nor another member
// could bring it to who is still a member.
func (c *courier) bring(d delivery) error {
	b := d.message.bytes()
	forward := func() bool { return !d.final && c.sender.forward(c.member.Load(), b) }
	if c.unreachable() && forward() {
		return nil
	}
	p, patience := c.member.Load(), dialTimeout
	if !d.final && c.sender.mayForward(c.member.Load()) {
		patience = c.sender.patience(p)
	}
	err := c.sender.mesh.stream(p, b, patience)
	if now := c.member.Load(); err != nil && now.Addr != p.Addr {
		p = now
		err = c.sender.mesh.stream(p, b, dialTimeout)
	}
	if err == nil {
		c.failed.Store(0)
		return nil
	}
	c.failed.Store(time.Now().UnixNano())
	if forward() {
		return nil
	}
	if err = fmt.Errorf("memberlist: %s: %w", p.node.Name, err); c.sender.roster.holds(p.node.Name) && !isQuestion(b) {
		c.sender.gate.do(func(h driver.Handler) { h.Lost(p.Member, err) })
	}
	return err
}

// unreachable reports whether a stream to the member could not be made a moment
// ago, so that it is not worth the wait to try.
func (c *courier) unreachable() bool {
	failed := c.failed.Load()
	return failed != 0 && time.Since(time.Unix(0, failed)) < c.sender.mesh.settings.ReconnectInterval
}
