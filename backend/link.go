package backend

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	openTimeout  = 10 * time.Second
	sendTimeout  = 10 * time.Second
	closeTimeout = 2 * time.Second
	backoffMin   = 50 * time.Millisecond
	backoffMax   = time.Second
)

// linkState is the driver of the moment, and whether it says that it is attached.
type linkState struct {
	mu       sync.Mutex
	session  *session
	changed  chan struct{} // closed and replaced when session or attached changes
	reopen   chan struct{} // cap 1: the driver is to be replaced
	closeCtx context.Context
}

// session is one opened driver. It stands between the driver and the node, so
// that a driver that calls after its Close disturbs nobody.
type session struct {
	node   *node
	ctx    context.Context // ends before the driver is closed
	cancel context.CancelFunc

	mu       sync.Mutex
	drv      driver.Driver // nil while it is being opened
	caps     driver.Caps
	attached bool
	over     bool
}

func (l *linkState) init() {
	l.changed = make(chan struct{})
	l.reopen = make(chan struct{}, 1)
}

// current returns the session if its driver is open, and a channel that is
// closed when that changes.
func (l *linkState) current() (*session, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.session; s != nil && s.opened() {
		return s, l.changed
	}
	return nil, l.changed
}

func (l *linkState) notify() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *linkState) set(s *session) {
	l.mu.Lock()
	l.session = s
	l.mu.Unlock()
	l.notify()
}

// up tells whether the driver says that it is attached.
func (l *linkState) up() bool {
	s, _ := l.current()
	return s != nil && s.isAttached()
}

// replace asks for another driver.
func (l *linkState) replace() {
	select {
	case l.reopen <- struct{}{}:
	default:
	}
}

// closing hands over the context within which the driver is to be closed.
func (l *linkState) closing(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeCtx = ctx
}

// linkLoop keeps a driver open until the node is closed. The outcome of the
// first attempt goes to first, unless opened is closed by then: the channel is in
// use, and whatever the driver says is tried again.
func (n *node) linkLoop(first chan<- error, opened <-chan struct{}) {
	defer close(n.linkDone)
	backoff := backoffMin
	for attempt := 0; ; attempt++ {
		s, err := n.openSession()
		if attempt == 0 {
			select {
			case first <- err:
				if err != nil && (!errors.Is(err, ErrUnavailable) || errors.Is(err, ErrConfig)) {
					return
				}
			case <-opened:
			}
		}
		if err == nil {
			opened := time.Now()
			n.link.set(s)
			select {
			case <-n.link.reopen:
			case <-n.ctx.Done():
			}
			n.link.set(nil)
			n.closeSession(s)
			if time.Since(opened) > 2*backoff {
				backoff = backoffMin
			}
		} else if n.ctx.Err() == nil {
			n.met.reconnectsF.Inc()
			n.inbox.link(nil, err)
			n.log.warn("open", "the cluster cannot be reached; trying on", "err", err)
		}
		if !n.pause(time.Duration(float64(backoff) * (0.5 + rand.Float64()/2))) {
			return
		}
		backoff = min(2*backoff, backoffMax)
	}
}

// pause waits for d. It tells whether the node is still open.
func (n *node) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.ctx.Done():
		return false
	}
}

func (n *node) openSession() (*session, error) {
	s := &session{node: n}
	s.ctx, s.cancel = context.WithCancel(n.ctx)
	ctx, cancel := context.WithTimeout(s.ctx, openTimeout)
	defer cancel()
	select { // a request that an earlier driver left behind
	case <-n.link.reopen:
	default:
	}
	n.link.mu.Lock()
	n.link.session = s
	n.link.mu.Unlock()
	var drv driver.Driver
	err := contain(func() (err error) {
		drv, err = n.cfg.Open(ctx, driver.Options{
			Cluster: n.cfg.Cluster, Self: n.self, Params: n.cfg.Params,
			MaxBytes: maxFrameBytes, Logger: n.log.Logger,
		}, s)
		return err
	})
	if err == nil && drv == nil {
		err = fmt.Errorf("%w: the driver is nil", ErrConfig)
	}
	if err != nil {
		s.end()
		if n.ctx.Err() == nil && ctx.Err() != nil && !errors.Is(err, ErrConfig) && !errors.Is(err, ErrUnavailable) {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return nil, err
	}
	s.mu.Lock()
	s.drv, s.caps = drv, drv.Caps()
	s.mu.Unlock()
	n.out.limit(s.caps.MaxFrame)
	return s, nil
}

// closeSession closes a session's driver: within the context of Close, or
// within closeTimeout when the driver is only to be replaced.
func (n *node) closeSession(s *session) {
	n.link.mu.Lock()
	ctx := n.link.closeCtx
	n.link.mu.Unlock()
	if ctx == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
	}
	s.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := contain(func() error { return s.drv.Close(ctx) }); err != nil {
			n.log.warn("close", "the driver was not closed cleanly", "err", err)
		}
	}()
	select {
	case <-done:
	case <-ctx.Done(): // a driver that hangs must not hang the node
		select {
		case <-done:
		case <-time.After(closeTimeout / 4):
		}
	}
	s.end()
}

func (s *session) opened() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drv != nil
}

func (s *session) isAttached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached
}

// end makes the session deaf.
func (s *session) end() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

func (s *session) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// transmit sends one frame by the driver: to one member where to is given and
// the driver can, else to all. Larger frames go in chunks.
func (s *session) transmit(ctx context.Context, frame []byte, to *Member) error {
	send := s.drv.Broadcast
	instance := ""
	if to != nil {
		instance = to.Instance // the others need not put chunks together
	}
	if to != nil && s.caps.Send != nil {
		send = func(ctx context.Context, frame []byte) error { return s.caps.Send(ctx, *to, frame) }
	}
	one := func(frame []byte) error {
		ctx, cancel := context.WithTimeout(ctx, sendTimeout)
		defer cancel()
		stop := context.AfterFunc(s.ctx, cancel)
		defer stop()
		return contain(func() error { return send(ctx, frame) })
	}
	if s.caps.MaxFrame <= 0 || len(frame) <= s.caps.MaxFrame {
		return one(frame)
	}
	return s.node.enc.Chunks(frame, s.caps.MaxFrame, instance, rand.Uint64(), func(chunk []byte) error {
		s.sendControl(ctx) // a beat must not wait for megabytes
		return one(chunk)
	})
}

// sendControl sends the control frames that wait.
func (s *session) sendControl(ctx context.Context) {
	for {
		control := s.node.out.nextControl()
		if control == nil {
			return
		}
		if err := s.transmit(ctx, control, nil); err != nil && ctx.Err() == nil {
			s.node.log.warn("send", "a control frame could not be sent", "err", err)
		}
	}
}

// sendLoop hands what is in the outbox to the driver, one frame at a time: what
// queues up meanwhile leaves as one frame.
func (n *node) sendLoop() {
	for {
		s, changed := n.link.current()
		if s == nil || !s.isAttached() {
			n.out.dropControl()
			select {
			case <-changed:
			case <-n.work.Done():
				return
			}
			continue
		}
		s.sendControl(n.work)
		if seg := n.out.next(); seg != nil {
			n.sendUpdates(s, seg)
		} else {
			select {
			case <-n.out.wake:
			case <-changed:
			case <-n.work.Done():
				return
			}
		}
		if n.work.Err() != nil {
			return
		}
	}
}

func (n *node) sendUpdates(s *session, seg *segment) {
	frame := seg.frame()
	if err := s.transmit(n.work, frame, nil); err != nil {
		n.met.publishFailures.WithLabelValues("update", "transport_error").Add(float64(seg.n))
		if n.work.Err() == nil {
			n.log.warn("send", "updates could not be sent; state exchange repairs them", "updates", seg.n, "err", err)
		}
	} else {
		n.met.update.sent.Add(float64(seg.n))
		n.met.update.sentBytes.Add(float64(len(frame)))
	}
	n.out.done(seg)
	n.inbox.sentUpdates()
}

// goodbye tells the others, as the last frame, that this node leaves.
func (n *node) goodbye(ctx context.Context) {
	s, _ := n.link.current()
	if s == nil || !s.isAttached() {
		return
	}
	if err := s.transmit(ctx, n.enc.Control(wire.Bye, wire.Control{Name: n.self.Name, High: n.out.high()}), nil); err != nil {
		n.log.Debug("the goodbye could not be sent", "err", err)
	}
}
