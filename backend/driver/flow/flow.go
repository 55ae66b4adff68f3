// Package flow sends frames to single members through a server that queues what a
// member has not read yet. About a window of them is on its way until the member
// confirms: a server would keep what a member on a slow link does not read, and
// in the end cut that member off.
//
// A driver that has an address for each node, such as a channel, a subject or a
// key, makes [driver.Caps] Send of it: [Flow.Send] sends, [Flow.Heard] looks at
// all that arrives at the node's own address, and [Flow.Serve] runs beside the
// driver's other loops.
package flow

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

const (
	// Window is how many unconfirmed bytes are sent to a member: far below what a
	// server queues for it, and so few that the heartbeats behind them are not late
	// on a link of a megabyte a second.
	Window = 1 << 20

	// Patience is how long a member may take to confirm. By then a member that
	// asked for a state has given up.
	Patience = 5 * time.Second

	maxMembers  = 1024 // whose windows are kept
	maxConfirms = 64   // confirmations that wait to be sent
	maxInstance = 64   // bytes
	maxMark     = 128  // bytes
)

// The first bytes of payloads that are no frames. No frame begins with a zero.
var (
	askMark     = []byte("\x00?")
	confirmMark = []byte("\x00!")
)

// A Flow is one node's windows to all members. Its methods may be called from any
// goroutine.
type Flow struct {
	backend  string
	self     string
	publish  PublishFunc
	confirms chan confirm
	done     chan struct{}

	mu   sync.Mutex
	last uint64
	to   map[string]*window
}

// PublishFunc publishes payload at the address of the node of that instance, which
// hears what one node publishes in order. It may block until ctx is done, and
// keeps and modifies no payload.
type PublishFunc func(ctx context.Context, instance string, payload []byte) error

// New returns the flow of the node with the instance self. The backend's name
// stands before its errors.
func New(backend, self string, publish PublishFunc) *Flow {
	// Numbers go on where an earlier Flow of the instance was: a late confirmation closes none.
	return &Flow{backend: backend, self: self, last: uint64(time.Now().UnixNano()), publish: publish, confirms: make(chan confirm, maxConfirms), done: make(chan struct{}), to: map[string]*window{}}
}

// confirm is one confirmation that is to be sent.
type confirm struct {
	to     string
	number uint64
}

// window is what is on its way to one member.
type window struct {
	size    int // since the member was last asked
	last    question
	asked   map[uint64]chan struct{} // what is not confirmed
	waiting int                      // calls of Send
}

// question is a number that a member is asked to confirm, and a channel that is closed
// once it has; nil for none.
type question struct {
	number    uint64
	confirmed chan struct{}
}

// Send publishes frame for one member alone. After each half of a window it asks the
// member to confirm, and waits until the half before is confirmed, so that the member
// reads one while the other is on its way: at most until ctx is done, or for Patience,
// both of which are driver.ErrUnavailable. Once Serve has returned, who waits gets
// driver.ErrClosed. An instance that this project's nodes do not have, which may hold
// what is special in an address, is driver.ErrUnavailable too.
func (f *Flow) Send(ctx context.Context, to driver.Member, frame []byte) error {
	if !isInstance(to.Instance) {
		return fmt.Errorf("%s: %w: %q is no instance of a node", f.backend, driver.ErrUnavailable, to.Instance)
	}
	if err := f.publish(ctx, to.Instance, frame); err != nil {
		return err
	}
	now, before := f.add(to.Instance, len(frame))
	if now.confirmed == nil {
		return nil
	}
	defer f.forget(to.Instance, before)
	if err := f.publish(ctx, to.Instance, mark(askMark, f.self, now.number)); err != nil {
		return err
	}
	if before.confirmed == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	select {
	case <-before.confirmed:
		return nil
	case <-f.done:
		return fmt.Errorf("%s: %w", f.backend, driver.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %s does not confirm what it is sent: %w", f.backend, driver.ErrUnavailable, to.Instance, ctx.Err())
	}
}

// Heard looks at what arrived at the node's own address. It reports whether that
// is a frame, to be handed on; the rest is for Flow, or empty. It never blocks.
func (f *Flow) Heard(payload []byte) (frame bool) {
	if len(payload) > 0 && payload[0] != 0 {
		return true
	}
	if len(payload) > maxMark {
		return false
	}
	kind, rest := payload[:min(len(askMark), len(payload))], payload[min(len(askMark), len(payload)):]
	text, instance, ok := bytes.Cut(rest, []byte("/"))
	number, err := strconv.ParseUint(string(text), 10, 64)
	if !ok || err != nil || !isInstance(string(instance)) {
		return false
	}
	switch {
	case bytes.Equal(kind, confirmMark):
		f.confirmed(string(instance), number)
	case bytes.Equal(kind, askMark):
		select {
		case f.confirms <- confirm{string(instance), number}:
		default: // a member that asks so often does not wait for the answers
		}
	}
	return false
}

// Serve sends the confirmations, which the receiving goroutine must not wait for.
// It returns nil once ctx is done, and whoever waits in Send then returns. What
// cannot be published is not confirmed.
func (f *Flow) Serve(ctx context.Context) error {
	defer close(f.done)
	for {
		select {
		case c := <-f.confirms:
			_ = f.publish(ctx, c.to, mark(confirmMark, f.self, c.number)) // its asker gives up
		case <-ctx.Done():
			return nil
		}
	}
}

// isInstance reports whether s can be a node's instance: small letters and digits.
func isInstance(s string) bool {
	return s != "" && len(s) <= maxInstance && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

func mark(kind []byte, instance string, number uint64) []byte {
	return fmt.Appendf(nil, "%s%d/%s", kind, number, instance)
}

// add counts size bytes. When half of the window is full it returns the question that is
// to be asked, and the one before, which the caller waits for and forgets.
func (f *Flow) add(instance string, size int) (now, before question) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.to[instance]
	if w == nil {
		f.makeRoom()
		w = &window{asked: map[uint64]chan struct{}{}}
		f.to[instance] = w
	}
	if w.size += size; w.size < Window/2 {
		return question{}, question{}
	}
	w.size = 0
	w.waiting++
	f.last++
	before, w.last = w.last, question{f.last, make(chan struct{})}
	w.asked[f.last] = w.last.confirmed
	return w.last, before
}

// forget ends what add has begun.
func (f *Flow) forget(instance string, q question) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.to[instance]; w != nil {
		w.waiting--
		delete(w.asked, q.number)
	}
}

// makeRoom forgets the windows that nobody waits for, if there are too many.
func (f *Flow) makeRoom() {
	if len(f.to) < maxMembers {
		return
	}
	for instance, w := range f.to {
		if w.waiting == 0 {
			delete(f.to, instance)
		}
	}
}

// confirmed closes the channels that wait for number, and for those before it.
func (f *Flow) confirmed(instance string, number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.to[instance]
	if w == nil {
		return
	}
	for n, c := range w.asked {
		if n <= number {
			close(c)
			delete(w.asked, n)
		}
	}
}
