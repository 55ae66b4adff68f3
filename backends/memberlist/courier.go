package memberlist

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// courier sends to one member by streams, one after the other, so that a member
// that is slow or away delays no other.
type courier struct {
	sender *sender
	member *member
	parcel chan delivery
	bytes  atomic.Int64 // queued
	behind atomic.Bool  // broadcasts do not wait for this member until its queue is empty
}

const (
	courierItems = 1024
	courierBytes = 4 * maxFrame
	courierIdle  = 30 * time.Second
)

// delivery is one message on its way.
type delivery struct {
	courier *courier
	message *message
	done    chan error
}

var errCourierFull = errors.New("the queue is full")

func newCourier(s *sender, p *member) *courier {
	return &courier{sender: s, member: p, parcel: make(chan delivery, courierItems)}
}

// queue does not block. It is called with the sender's lock held.
func (c *courier) queue(m *message) (delivery, error) {
	d := delivery{courier: c, message: m, done: make(chan error, 1)}
	size := int64(len(m.bytes()))
	if c.bytes.Load() > 0 && c.bytes.Load()+size > courierBytes {
		return delivery{}, fmt.Errorf("memberlist: %s: %w", c.member.node.Name, errCourierFull)
	}
	m.hold()
	c.bytes.Add(size)
	select {
	case c.parcel <- d:
		return d, nil
	default:
		m.release()
		c.bytes.Add(-size)
		return delivery{}, fmt.Errorf("memberlist: %s: %w", c.member.node.Name, errCourierFull)
	}
}

// result waits until the message is sent.
func (d delivery) result(ctx context.Context) error {
	if d.courier == nil {
		return nil // it was not even queued
	}
	select {
	case err := <-d.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("memberlist: %s: %w", d.courier.member.node.Name, context.Cause(ctx))
	}
}

// run sends until there is nothing to send for a while.
func (c *courier) run() {
	idle := time.NewTimer(courierIdle)
	defer idle.Stop()
	for {
		select {
		case d := <-c.parcel:
			b := d.message.bytes()
			err := c.send(b)
			c.bytes.Add(-int64(len(b)))
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
	delete(c.sender.couriers, c.member.node.Name)
	return true
}

func (c *courier) send(b []byte) error {
	if err := c.sender.mesh.stream(c.member, b); err != nil {
		return fmt.Errorf("memberlist: %s: %w", c.member.node.Name, err)
	}
	return nil
}
