package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Check tells whether [Open] could use c, as far as can be told without
// listening and without connecting anywhere: the error is the one that Open would
// return for bad configuration, and wraps ErrConfig.
func Check(c Config) (err error) {
	if c.Open == nil {
		b, ok := Lookup(c.Backend)
		if !ok {
			return unknownBackend(c.Backend)
		}
		c.Open = b.Open
	}
	if err := c.complete(); err != nil {
		return err
	}
	// Its context is done: a driver checks its parameters and opens nothing.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var drv driver.Driver
	err = contain(func() (err error) {
		drv, err = c.Open(ctx, driver.Options{
			Cluster: c.Cluster, Self: Member{Name: c.Name, Instance: "check", Meta: c.Meta}, Params: c.Params,
			MaxBytes: maxFrameBytes, Logger: c.Logger,
		}, deaf{})
		return err
	})
	switch {
	case drv != nil && err == nil:
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return drv.Close(ctx)
	case errors.Is(err, ErrConfig):
		return fmt.Errorf("open %s: %w", c.Backend, err)
	case errors.Is(err, ctx.Err()), errors.Is(err, ErrUnavailable):
		return nil
	default:
		return fmt.Errorf("open %s: %w", c.Backend, err)
	}
}

// deaf is the handler of a driver that is only checked.
type deaf struct{}

func (deaf) Frame([]byte)                       {}
func (deaf) Link(error)                         {}
func (deaf) Members([]Member)                   {}
func (deaf) Left(Member)                        {}
func (deaf) Probe(string, time.Duration, error) {}
func (deaf) LocalState() []byte                 { return nil }
func (deaf) MergeState([]byte)                  {}

var _ driver.Handler = deaf{}
