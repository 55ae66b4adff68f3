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
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	openTimeout  = 10 * time.Second
	closeTimeout = 2 * time.Second
	backoffMin   = 50 * time.Millisecond
	backoffMax   = time.Second
)

// linkState is the driver of the moment, and whether it says that it is attached.
type linkState struct {
	mu       sync.Mutex
	session  *session
	err      *linkError    // the last one
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

// up reports whether the driver says that it is attached.
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
	pauses := backoff{most: min(backoffMax, max(n.cfg.Timing.Grace/8, backoffMin))}
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
			pauses.served(time.Since(began))
		} else if n.ctx.Err() == nil {
			n.unreached(err)
		}
		if !n.pause(pauses.next()) {
			return
		}
	}
}

// backoff is how long to wait for the next attempt to open a driver: longer with each
// one that fails, and with each session that ends at once.
type backoff struct {
	most   time.Duration
	failed int // attempts, since there was a session
	short  int // sessions, since there was one that lasted
}

// served notes how long a session lasted. The attempts before it do not count any more:
// who loses a link that was just made, as a lease that ran out in the meantime, comes
// back at once.
func (b *backoff) served(d time.Duration) {
	b.failed = 0
	if b.short++; d > b.most/2 {
		b.short = 0
	}
}

// next returns the next pause.
func (b *backoff) next() time.Duration {
	pause := min(backoffMin<<min(b.failed+b.short, 16), b.most)
	b.failed++
	return time.Duration(float64(pause) * (0.5 + rand.Float64()/2))
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
			Cluster: c.Cluster, Self: self, Params: c.Params, MaxBytes: wire.MaxFrame, Logger: logger,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if isNil(drv) {
		return nil, fmt.Errorf("%w: the driver is nil", ErrConfig)
	}
	return drv, nil
}

// isNil reports whether there is no driver, or one of a type that it is nil of.
func isNil(drv driver.Driver) bool {
	switch v := reflect.ValueOf(drv); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return v.IsNil()
	default:
		return false
	}
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
			s.gaveUp(err)
		}
	case <-n.link.reopen:
	case <-n.ctx.Done():
	}
	n.link.set(nil)
	n.closeSession(s)
}

// gaveUp notes that Serve has given up.
func (s *session) gaveUp(err error) {
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
	n.troubles.forget()
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

// Link implements driver.Handler.
func (s *session) Link(err error) {
	if s.over.Load() {
		return
	}
	was := s.attached.Swap(err == nil)
	switch {
	case err == nil:
		s.node.engine.step(core.LinkUp{Transport: s.transport()})
	case was:
		s.node.linkDown(err)
	default: // another attempt has failed, or all others so far for another reason
		s.node.unreached(err)
	}
	s.node.link.notify()
}

// linkError is why the link is down. The core compares errors, and two attempts
// that fail alike are no change.
type linkError struct{ error }

func (e *linkError) Unwrap() error { return e.error }

// unreached counts and logs an attempt to attach that has failed.
func (n *node) unreached(err error) {
	n.met.reconnectsF.Inc()
	n.linkDown(err)
	n.log.warn("open", "the cluster cannot be reached; still trying", "err", err)
}

// linkDown tells the core that there is no link.
func (n *node) linkDown(err error) {
	n.link.mu.Lock()
	if n.link.err == nil || n.link.err.Error() != err.Error() {
		n.link.err = &linkError{err}
	}
	err = n.link.err
	n.link.mu.Unlock()
	n.engine.step(core.LinkDown{Err: err})
}

func (s *session) transport() core.Transport {
	return core.Transport{Native: s.caps.Membership, Unicast: s.caps.Send != nil, Exchange: s.caps.Exchange, Copies: s.caps.Linger}
}

// Members implements driver.Handler.
func (s *session) Members(all []Member) {
	if s.over.Load() {
		return
	}
	members := make([]core.Member, len(all))
	for i, m := range all {
		members[i] = core.Member(m)
	}
	s.node.engine.step(core.Listed{Members: members})
}

// Left implements driver.Handler.
func (s *session) Left(m Member) {
	if !s.over.Load() {
		s.node.engine.step(core.Left{Member: core.Member(m)})
	}
}

// Probe implements driver.Handler.
func (s *session) Probe(peer string, rtt time.Duration, err error) {
	if !s.over.Load() {
		s.node.met.probed(peer, rtt, err)
	}
}

// Trouble implements driver.Handler.
func (s *session) Trouble(what string, err error) {
	if s.over.Load() {
		return
	}
	n := s.node
	switch changed := n.troubles.note(what, err); {
	case changed && err != nil:
		n.log.Warn("the transport works, but not as it should", "what", what, "err", err)
	case changed:
		n.log.Info("the transport works as it should again", "what", what)
	}
}

// Lost implements driver.Handler.
func (s *session) Lost(to Member, err error) {
	if s.over.Load() {
		return
	}
	s.node.met.undelivered.Inc()
	s.node.log.warn("lost", "something did not reach a member; state exchange repairs it", "member", to.Name, "instance", to.Instance, "err", err)
}

var _ driver.Handler = (*session)(nil)
