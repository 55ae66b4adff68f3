package backend

import (
	"context"
	"errors"
	"fmt"
)

// Check reports whether [Open] could use c, as far as that shows without listening
// and without connecting anywhere: the error is the one that Open would
// return for bad configuration, and wraps ErrConfig.
func Check(c Config) error {
	if c.Driver == nil {
		b, ok := Lookup(c.Backend)
		if !ok {
			return unknownBackend(c.Backend)
		}
		c.Driver = b.Open
	}
	if err := c.complete(); err != nil {
		return err
	}
	// Its context is done: a driver checks its parameters and opens nothing.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	drv, err := c.openDriver(ctx, Member{Name: c.Name, Instance: "check", Meta: c.Meta}, c.Logger)
	switch {
	case err == nil:
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return contain(func() error { return drv.Close(ctx) })
	case errors.Is(err, ErrConfig):
		return fmt.Errorf("open %s: %w", c.Backend, err)
	case errors.Is(err, ctx.Err()), errors.Is(err, ErrUnavailable):
		return nil
	default:
		return fmt.Errorf("open %s: %w", c.Backend, err)
	}
}
