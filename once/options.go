package once

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Options are the options of [New]. The zero value is usable. All nodes of a cluster
// should have the same.
type Options struct {
	// Key is the key of the state that the nodes share, of 1 to 255 bytes. Groups of
	// different keys have nothing to do with each other. Default "once".
	Key string

	// Turn is how long a node waits for each one before it to begin. It should be
	// longer than the calls of Do for a key are apart on different nodes, which by a
	// clock is as much as the clocks are, and longer than it takes until a crash is
	// seen. Default 5s; from 10ms to 1h.
	Turn time.Duration

	// Limit is how long the work may take: then the context that it is given ends, and
	// one Turn later nobody waits for that node any more. Default 1m; from 10ms to 24h.
	Limit time.Duration

	// Life is how long it is known that a key was done. Then the key is new: it is
	// forgotten on all nodes, and Do does its work again. So it should be longer than
	// anybody may call Do for one key, and a key should name the occasion:
	// "report/2026-12-01". Default 24h; from 10ms to 10 years.
	Life time.Duration

	// MaxKeys is how many keys are remembered at most. Where more would be, Do does its
	// work, and cannot tell: [ErrUntold]. Two parts of a cluster that were apart may each
	// have as many, and then all have both. Default 100,000; from 1 to 4 Mi.
	//
	// A key takes some 600 bytes beside what the work returned. Where the nodes hold 256
	// MiB in all, or 1 KiB for each of MaxKeys if that is more, a value is left out:
	// [ErrUntold], and the others know that the work was done.
	MaxKeys int

	// ByPosition has the nodes take their turns in the order of the members, so that
	// the first does all the work while it is there. Default: each key has an order of
	// its own, [backend.View.Order], which spreads the work.
	ByPosition bool

	// Logger receives what an operator should know; default slog.Default.
	Logger *slog.Logger

	// Registerer receives the metrics; nil for none.
	Registerer prometheus.Registerer

	// Now tells the time of this node's clock, for tests; nil means time.Now.
	Now func() time.Time
}

// The errors of this package. Each is wrapped with the key and what happened; test
// with errors.Is. Those of what Do and New are given wrap [backend.ErrConfig], and
// those after Close wrap [backend.ErrClosed].
var (
	// ErrFailed: the work failed on this node, or panicked. The next node in order
	// tries, if it has called Do for the key; nothing keeps this one from calling Do
	// again.
	ErrFailed = errors.New("the work failed")

	// ErrUntold: the work was done on this node, but the others were not told all. Either
	// they know that it was done and do not have its value, which is too large
	// ([backend.ErrTooLarge]) or finds no room ([replicated.ErrFull]); or they do not, and
	// may do it again: there are MaxKeys keys, or the node was closed. The text says which.
	ErrUntold = errors.New("the others were not told")
)

// errLimit is why the context of work that takes too long has ended.
var errLimit = errors.New("it takes longer than Options.Limit")

const (
	mostKeys = 4 << 20
	maxKey   = 255      // bytes of a key
	maxValue = 64 << 10 // bytes of what the work returns
)

// complete fills in the defaults, and checks what is there.
func (o *Options) complete() error {
	if o.Key == "" {
		o.Key = "once"
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = 100_000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxKeys < 0 || o.MaxKeys > mostKeys {
		return fmt.Errorf("once: %w: MaxKeys is %d, want 1 to %d, or 0 for 100,000", backend.ErrConfig, o.MaxKeys, mostKeys)
	}
	for _, d := range []struct {
		name               string
		value              *time.Duration
		usual, least, most time.Duration
	}{
		{"Turn", &o.Turn, 5 * time.Second, 10 * time.Millisecond, time.Hour},
		{"Limit", &o.Limit, time.Minute, 10 * time.Millisecond, 24 * time.Hour},
		{"Life", &o.Life, 24 * time.Hour, 10 * time.Millisecond, 10 * 365 * 24 * time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.usual
		}
		if *d.value < d.least || *d.value > d.most {
			return fmt.Errorf("once: %w: %s is %v, want %v to %v, or 0 for %v", backend.ErrConfig, d.name, *d.value, d.least, d.most, d.usual)
		}
	}
	return nil
}
