package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
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
// that a driver that calls after its Serve has returned disturbs nobody.
type session struct {
	node   *node
	drv    driver.Driver
	caps   driver.Caps
	ctx    context.Context // of Serve
	cancel context.CancelFunc
	served chan error // what Serve returned

	attached atomic.Bool
	over     atomic.Bool // nothing that the driver calls counts any more
}

func (l *linkState) init() {
	l.changed = make(chan struct{})
	l.reopen = make(chan struct{}, 1)
}

// current returns the session, or nil, and a channel that is closed when that
// changes.
func (l *linkState) current() (*session, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.changed
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
	return s != nil && s.attached.Load()
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
// use, and an error only causes another attempt.
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
			began := time.Now()
			n.serve(s)
			if time.Since(began) > 2*backoff {
				backoff = backoffMin
			}
		} else if n.ctx.Err() == nil {
			n.met.reconnectsF.Inc()
			n.inbox.link(nil, err)
			n.log.warn("open", "the cluster cannot be reached; still trying", "err", err)
		}
		if !n.pause(time.Duration(float64(backoff) * (0.5 + rand.Float64()/2))) {
			return
		}
		backoff = min(2*backoff, backoffMax)
	}
}

// pause waits for d. It reports whether the node is still open.
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

// openSession opens a driver and learns what it can do.
func (n *node) openSession() (*session, error) {
	ctx, cancel := context.WithTimeout(n.ctx, openTimeout)
	defer cancel()
	drv, err := n.cfg.openDriver(ctx, n.self, n.log.Logger)
	if err != nil {
		if n.ctx.Err() == nil && ctx.Err() != nil && !errors.Is(err, ErrConfig) && !errors.Is(err, ErrUnavailable) {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return nil, err
	}
	s := &session{node: n, drv: drv, served: make(chan error, 1)}
	s.ctx, s.cancel = context.WithCancel(n.ctx)
	if err := contain(func() error { s.caps = s.drv.Caps(); return nil }); err != nil {
		s.served <- nil // it was never called
		n.closeSession(s)
		return nil, fmt.Errorf("the driver's Caps: %w", err)
	}
	return s, nil
}

// openDriver opens a driver, and survives one that panics or is nil.
func (c *Config) openDriver(ctx context.Context, self Member, logger *slog.Logger) (drv driver.Driver, err error) {
	err = contain(func() (err error) {
		drv, err = c.Driver(ctx, driver.Options{
			Cluster: c.Cluster, Self: self, Params: c.Params, MaxBytes: maxFrameBytes, Logger: logger,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if v := reflect.ValueOf(drv); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, fmt.Errorf("%w: the driver is nil", ErrConfig)
	}
	return drv, nil
}

// serve lets the session's driver run until its link is lost, another one is
// wanted, or the node is closed; and closes it.
func (n *node) serve(s *session) {
	select { // a request that an earlier driver left behind
	case <-n.link.reopen:
	default:
	}
	n.out.limit(s.caps.MaxFrame)
	n.link.set(s)
	go func() { s.served <- contain(func() error { return s.drv.Serve(s.ctx, s) }) }()
	select {
	case err := <-s.served:
		s.served <- err // closeSession waits for it too
		if n.ctx.Err() == nil {
			s.lost(err)
		}
	case <-n.link.reopen:
	case <-n.ctx.Done():
	}
	n.link.set(nil)
	n.closeSession(s)
}

// lost notes that Serve has given up.
func (s *session) lost(err error) {
	if err == nil {
		err = errors.New("the driver stopped serving")
	}
	if !errors.Is(err, ErrUnavailable) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.Link(err)
}

// closeSession ends Serve and closes the driver: within the context of Close, or
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
		served := s.awaitServe(ctx)
		if err := contain(func() error { return s.drv.Close(ctx) }); err != nil {
			n.log.warn("close", "the driver was not closed cleanly", "err", err)
		}
		if !served { // Close may be what ends it
			<-s.served
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
	s.over.Store(true)
}

// awaitServe waits until Serve has returned. It reports whether it has: a driver
// that is closed in haste still has a moment to end it.
func (s *session) awaitServe(ctx context.Context) bool {
	select {
	case <-s.served:
	case <-ctx.Done():
		select {
		case <-s.served:
		case <-time.After(closeTimeout / 8):
			return false
		}
	}
	s.over.Store(true)
	return true
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
		return s.bounded(ctx, func(ctx context.Context) error { return send(ctx, frame) })
	}
	if s.caps.MaxFrame <= 0 || len(frame) <= s.caps.MaxFrame {
		return one(frame)
	}
	return s.node.enc.Chunks(frame, s.caps.MaxFrame, instance, rand.Uint64(), func(chunk []byte) error {
		s.sendControl(ctx) // a beat must not wait for megabytes
		return one(chunk)
	})
}

// bounded calls a function of the driver, which has sendTimeout and ends with the
// session.
func (s *session) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return contain(func() error { return f(ctx) })
}

// transmitUpdates sends a frame of updates to all, and each update by itself to
// peers that are not ours.
func (s *session) transmitUpdates(ctx context.Context, frame []byte) error {
	heard := false
	var err error
	if s.caps.Updates != nil {
		err = s.bounded(ctx, func(ctx context.Context) (err error) {
			heard, err = s.caps.Updates(ctx, wire.Updates(frame))
			return err
		})
	}
	if heard {
		return err
	}
	return errors.Join(err, s.transmit(ctx, frame, nil))
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
		if s == nil || !s.attached.Load() {
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
	if err := s.transmitUpdates(n.work, frame); err != nil {
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
	if s == nil || !s.attached.Load() {
		return
	}
	if err := s.transmit(ctx, n.enc.Control(wire.Bye, wire.Control{Name: n.self.Name, High: n.out.high()}), nil); err != nil {
		n.log.Debug("the goodbye could not be sent", "err", err)
	}
}
