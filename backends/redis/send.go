package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

const (
	// window is how many unconfirmed bytes are sent to a member: far below what a
	// server queues for a subscriber, and so few that the beats behind them are
	// not late on a link of a megabyte a second.
	window = 1 << 20

	// confirmTimeout is how long a member may take to confirm. By then a member
	// that asked for a state has given up.
	confirmTimeout = 5 * time.Second

	maxFlows    = 1024 // members whose windows are kept
	maxConfirms = 64   // confirmations that wait to be sent
)

// The first bytes of messages that are no frames, on the channels of single
// nodes. No frame begins with a zero.
const (
	askMark  = "\x00?"
	confMark = "\x00!"
)

// own returns the channel of one node.
func (c *conn) own(instance string) string { return c.channel + ":" + instance }

// send publishes frame to one member alone. It sends no more than a member on a
// slow link reads: the server would end the member's subscription.
func (c *conn) send(ctx context.Context, to driver.Member, frame []byte) error {
	if err := c.publish(ctx, c.own(to.Instance), frame); err != nil {
		return err
	}
	number, confirmed := c.flows.add(to.Instance, len(frame))
	if confirmed == nil {
		return nil
	}
	if err := c.publish(ctx, c.own(to.Instance), mark(askMark, c.instance, number)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	select {
	case <-confirmed:
		return nil
	case <-c.client.Ended():
		return fmt.Errorf("redis: %w", driver.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("redis: %s does not confirm what it is sent: %w", to.Instance, ctx.Err())
	}
}

func mark(kind, instance string, number uint64) []byte {
	return fmt.Appendf(nil, "%s%d/%s", kind, number, instance)
}

// heardOwn handles what was published on this node's own channel.
func (c *conn) heardOwn(payload string, h driver.Handler) {
	if payload == "" {
		return // of a preflight
	}
	kind, rest := payload[:min(len(askMark), len(payload))], payload[min(len(askMark), len(payload)):]
	text, instance, ok := strings.Cut(rest, "/")
	number, err := strconv.ParseUint(text, 10, 64)
	switch {
	case kind != askMark && kind != confMark:
		h.Frame([]byte(payload))
	case !ok || err != nil:
	case kind == confMark:
		c.flows.confirm(instance, number)
	default:
		select {
		case c.confirms <- confirm{instance, number}:
		default: // a member that asks so often does not wait for the answers
		}
	}
}

// confirm answers an askMark.
type confirm struct {
	to     string
	number uint64
}

// confirmAll sends the confirmations: the receiving goroutine must not wait for
// a server.
func (c *conn) confirmAll(ctx context.Context) error {
	for {
		select {
		case a := <-c.confirms:
			if err := c.publish(ctx, c.own(a.to), mark(confMark, c.instance, a.number)); err != nil {
				c.logger.Debug("a confirmation was not sent", "to", a.to, "err", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// flows count the unconfirmed bytes sent to each member.
type flows struct {
	mu   sync.Mutex
	last uint64
	of   map[string]*flow
}

type flow struct {
	unasked int
	waiting map[uint64]chan struct{}
}

// add counts size bytes. When the window is full it returns a number to ask
// for, and a channel that is closed once that is confirmed.
func (f *flows) add(instance string, size int) (uint64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.of[instance]
	if w == nil {
		if f.of == nil || len(f.of) >= maxFlows {
			f.of = map[string]*flow{}
		}
		w = &flow{waiting: map[uint64]chan struct{}{}}
		f.of[instance] = w
	}
	if w.unasked += size; w.unasked < window {
		return 0, nil
	}
	w.unasked = 0
	f.last++
	confirmed := make(chan struct{})
	w.waiting[f.last] = confirmed
	return f.last, confirmed
}

// confirm closes the channels that wait for number, and for those before it.
func (f *flows) confirm(instance string, number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.of[instance]
	if w == nil {
		return
	}
	for n, confirmed := range w.waiting {
		if n <= number {
			close(confirmed)
			delete(w.waiting, n)
		}
	}
}
