package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// A mark is a sound frame that a check hands to a driver itself. The wiretaps of
// those who hear it note it, and hand it on to nobody.
type mark []byte

// markOrigin begins the origin of each mark.
const markOrigin = "mark"

var lastMark atomic.Int64

// mark makes one of so many bytes, or of as few as it takes.
func (e *env) mark(size int) mark {
	n := lastMark.Add(1)
	encoder := wire.NewEncoder(e.cluster, fmt.Sprint(markOrigin, n))
	random := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	data := make([]byte, size)
	_, _ = random.Read(data)                                 // never fails
	for _, key := range []string{"m", "mm", "mmm", "mmmm"} { // the length of a length may leave a size out
		frame := func(of int) mark {
			b, _ := encoder.AppendUpdate(encoder.AppendBatch(nil), wire.UpdateHead{Key: key, Number: 1}, data[:of])
			return b
		}
		least := frame(0)
		for of := max(0, size-len(least)); ; of-- {
			m := frame(of)
			if len(m) == size || of == 0 {
				return m
			}
			if len(m) < size {
				break
			}
		}
	}
	panic(fmt.Sprintf("no frame has %d bytes", size))
}

// subscription counts a new subscription as one that the check is yet to know of,
// and returns what has it know.
func (p *wiretap) subscription() (tell func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.attached
	if f == nil {
		return func() {}
	}
	p.telling++
	return func() {
		f()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.telling--
	}
}

// knows reports whether the check knows of all subscriptions.
func (p *wiretap) knows() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.telling == 0
}

// setAttached calls f once a driver has been opened, before it serves, and each
// time that it says that it is attached; nil stops that.
func (p *wiretap) setAttached(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attached = f
}

// driver returns the newest driver, and what it can do.
func (p *wiretap) driver() (driver.Driver, driver.Caps) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newest, p.caps
}

// times returns how often m was heard.
func (p *wiretap) times(m mark) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, heard := range p.marks {
		if heard == string(m) {
			n++
		}
	}
	return n
}

// order returns which of marks were heard, in the order in which they were.
func (p *wiretap) order(marks []mark) (order []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, heard := range p.marks {
		if i := slices.IndexFunc(marks, func(m mark) bool { return heard == string(m) }); i >= 0 {
			order = append(order, i)
		}
	}
	return order
}

// say has the driver of n broadcast m.
func (n *node) say(m mark) error {
	d, _ := n.tap.driver()
	ctx, cancel := context.WithTimeout(context.Background(), n.env.scaled(time.Second))
	defer cancel()
	return d.Broadcast(ctx, m)
}

// tell has the driver of n send m to one instance alone.
func (n *node) tell(instance string, m mark) error {
	_, caps := n.tap.driver()
	ctx, cancel := context.WithTimeout(context.Background(), n.env.scaled(time.Second))
	defer cancel()
	return caps.Send(ctx, driver.Member{Instance: instance}, m)
}

// marks are those that a node has sent as soon as it was subscribed.
type marks struct {
	mu   sync.Mutex
	said []mark
}

// say has n broadcast another one.
func (s *marks) say(n *node) {
	m := n.env.mark(300)
	if n.say(m) != nil {
		return // it is away again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, m)
}

func (s *marks) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.said)
}

// heard reports whether n has said all of them, and heard them.
func (s *marks) heard(n *node) error {
	if !n.tap.knows() {
		return fmt.Errorf("the driver of %s has not sent what it was given", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range s.said {
		if n.tap.times(m) == 0 {
			return fmt.Errorf("%s has not heard frame %d of %d: Open is to return, and Link(nil) to be called, when the server has confirmed the subscription, not when it was asked for", n, i+1, len(s.said))
		}
	}
	return nil
}
