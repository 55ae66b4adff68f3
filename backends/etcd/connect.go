package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// stagger is how long one endpoint has before the next is tried beside it.
const stagger = 250 * time.Millisecond

// connect opens a session at the first endpoint that can be used.
func (n *node) connect() (*session, error) {
	s, err := n.reach()
	if err != nil {
		return nil, err
	}
	if err := s.settle(); err != nil {
		s.close()
		n.passOver(s)
		return nil, err
	}
	return s, nil
}

// passOver has the next attempt begin behind the endpoint of s.
func (n *node) passOver(s *session) { n.next = (s.index + 1) % len(n.params.Endpoints) }

// reached is how an attempt has ended.
type reached struct {
	s   *session
	err error
}

// reach tries all endpoints, each a moment after the one before, and returns the
// first that answers. Its error is one of configuration only where all
// endpoints have such a one.
func (n *node) reach() (*session, error) {
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	count := len(n.params.Endpoints)
	results := make(chan reached, count)
	started, pending := 0, 0
	next := time.NewTimer(0)
	defer next.Stop()
	var failures []error
	for {
		select {
		case <-next.C:
			if started < count {
				n.try(ctx, n.newSession((n.next+started)%count), results)
				started, pending = started+1, pending+1
				next.Reset(stagger)
			}
		case r := <-results:
			pending--
			if r.err == nil {
				cancel()
				discard(results, pending)
				return r.s, nil
			}
			failures = append(failures, r.err)
			next.Reset(0)
			if pending == 0 && started == count {
				return nil, n.unreachable(failures)
			}
		}
	}
}

// try has s reach its endpoint, and reports to results.
func (n *node) try(ctx context.Context, s *session, results chan<- reached) {
	go func() {
		stop := context.AfterFunc(ctx, func() { s.cancel(ctx.Err()) })
		err := s.reach()
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			s.close()
		}
		results <- reached{s, err}
	}()
}

// discard closes what else has reached an endpoint.
func discard(results <-chan reached, pending int) {
	for range pending {
		if r := <-results; r.err == nil {
			r.s.close()
		}
	}
}

func (n *node) unreachable(failures []error) error {
	if err := n.ctx.Err(); err != nil {
		return fmt.Errorf("etcd: %w: %w", driver.ErrClosed, err)
	}
	if len(failures) == 1 {
		return failures[0]
	}
	for _, err := range failures {
		if !errors.Is(err, driver.ErrConfig) {
			return fmt.Errorf("etcd: %w: no endpoint can be used: %v", driver.ErrUnavailable, errors.Join(failures...))
		}
	}
	return failures[0]
}
