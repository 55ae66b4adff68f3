package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// maxFlight is how many pieces of a large frame are on their way at once: etcd
// commits together what comes together.
const maxFlight = 8

// fullMargin is how much smaller than max_frame a piece of a large frame may be.
const fullMargin = 512

// flight is the pieces of large frames that are on their way.
type flight struct {
	slots chan struct{} // cap maxFlight: one for each
	land  chan struct{} // cap 1: held by who waits for all
	all   sync.WaitGroup

	mu     sync.Mutex
	failed []error // not yet returned
	closed bool
}

func newFlight() *flight {
	return &flight{slots: make(chan struct{}, maxFlight), land: make(chan struct{}, 1)}
}

// begin has put take a copy of a piece, and returns when there is room for it. Its
// error is that of pieces before.
func (f *flight) begin(ctx context.Context, piece []byte, put func(context.Context, []byte) error) error {
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return errors.Join(f.failures(), ctx.Err())
	}
	piece = slices.Clone(piece)
	ctx = context.WithoutCancel(ctx) // put ends with the link
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("etcd: %w", driver.ErrClosed)
	}
	f.all.Go(func() {
		err := put(ctx, piece)
		f.mu.Lock()
		defer f.mu.Unlock()
		if err != nil {
			f.failed = append(f.failed, err)
		}
		<-f.slots
	})
	return f.takeFailures()
}

// close waits for the pieces, which end with the link, and takes no more.
func (f *flight) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.all.Wait()
}

// wait returns when no piece is on its way, with what has gone wrong.
func (f *flight) wait(ctx context.Context) error {
	select {
	case f.land <- struct{}{}:
		defer func() { <-f.land }()
	case <-ctx.Done():
		return errors.Join(f.failures(), ctx.Err())
	}
	for range maxFlight {
		select {
		case f.slots <- struct{}{}:
			defer func() { <-f.slots }()
		case <-ctx.Done():
			return errors.Join(f.failures(), ctx.Err())
		}
	}
	return f.failures()
}

// failures returns what has gone wrong since it was last asked.
func (f *flight) failures() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.takeFailures()
}

func (f *flight) takeFailures() error {
	err := errors.Join(f.failed...)
	f.failed = nil
	return err
}
