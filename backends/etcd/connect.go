package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// stagger is how long one endpoint has before the next is tried beside it.
const stagger = 250 * time.Millisecond

// connect makes the node a member through the first endpoint that can be used,
// and returns the driver. After an error only a lease is left, which expires.
func (s *seat) connect(ctx context.Context) (*conn, error) {
	c, err := s.reach(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.cancel(ctx.Err()) })
	err = c.settle()
	if !stop() && err == nil {
		err = fmt.Errorf("etcd: %w", ctx.Err())
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// reached is the outcome of an attempt.
type reached struct {
	c   *conn
	err error
}

// reach tries all endpoints, each a moment after the one before, and returns the
// first that answers. Its error is ErrConfig only if that of every endpoint is.
func (s *seat) reach(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	endpoints := slices.Clone(s.params.Endpoints)
	rand.Shuffle(len(endpoints), reflect.Swapper(endpoints))
	results := make(chan reached, len(endpoints))
	started, pending := 0, 0
	next := time.NewTimer(0)
	defer next.Stop()
	var failures []error
	for {
		select {
		case <-next.C:
			if started < len(endpoints) {
				s.try(ctx, endpoints[started], results)
				started, pending = started+1, pending+1
				next.Reset(stagger)
			}
		case r := <-results:
			pending--
			if r.err == nil {
				cancel()
				discard(results, pending)
				return r.c, nil
			}
			failures = append(failures, r.err)
			next.Reset(0)
			if pending == 0 && started == len(endpoints) {
				return nil, unreachable(failures)
			}
		}
	}
}

// try reaches an endpoint, and reports to results.
func (s *seat) try(ctx context.Context, endpoint string, results chan<- reached) {
	c := s.at(endpoint)
	go func() {
		stop := context.AfterFunc(ctx, func() { c.cancel(ctx.Err()) })
		err := c.reach()
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			c.close()
		}
		results <- reached{c, err}
	}()
}

// discard closes the other connections that have reached an endpoint.
func discard(results <-chan reached, pending int) {
	for range pending {
		if r := <-results; r.err == nil {
			r.c.close()
		}
	}
}

func unreachable(failures []error) error {
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
