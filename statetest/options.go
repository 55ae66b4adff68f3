package statetest

import (
	"cmp"
	"errors"
	"fmt"
	"testing"
	"time"
)

// Options are those of Check and Fuzz. The zero value means the defaults; one that would
// try nothing fails the test.
type Options struct {
	// Seed is that of the first round; each has the next one. Default 1.
	Seed uint64

	// Rounds is how many are tried; default 30, or 10 with -short.
	Rounds int

	// Changes is how many changes the last round makes; the first ones make few. Default 30.
	Changes int

	// Patience is how long one call of a state may take; default 20s.
	Patience time.Duration
}

// SimulateOptions are those of Simulate. The zero value means the defaults; one that would
// try nothing fails the test.
type SimulateOptions struct {
	// Seed is that of the first run; each has the next one. Default 1.
	Seed uint64

	// Runs is how many clusters are tried; default 8, or 2 with -short.
	Runs int

	// Nodes is how many there are, from 2 to 16; default 3 to 5, by the seed.
	Nodes int

	// For is how long a cluster is broken, in virtual time; default 2m.
	For time.Duration
}

func (o *Options) filled() Options {
	var f Options
	if o != nil {
		f = *o
	}
	f.Seed = cmp.Or(f.Seed, 1)
	f.Rounds = cmp.Or(f.Rounds, unlessShort(30, 10))
	f.Changes = cmp.Or(f.Changes, 30)
	f.Patience = cmp.Or(f.Patience, patience)
	return f
}

// filled leaves to the seed what is by the seed.
func (o *SimulateOptions) filled() SimulateOptions {
	var f SimulateOptions
	if o != nil {
		f = *o
	}
	f.Seed = cmp.Or(f.Seed, 1)
	f.Runs = cmp.Or(f.Runs, unlessShort(8, 2))
	f.For = cmp.Or(f.For, 2*time.Minute)
	return f
}

func unlessShort(n, short int) int {
	if testing.Short() {
		return short
	}
	return n
}

// usable returns what is wrong with a maker, or with filled options.
func (o Options) usable(maker Maker) error {
	return errors.Join(
		known(maker),
		atLeastOne("Rounds", o.Rounds),
		atLeastOne("Changes", o.Changes),
		positive("Patience", o.Patience),
	)
}

func (o SimulateOptions) usable(maker Maker) error {
	err := errors.Join(known(maker), atLeastOne("Runs", o.Runs), positive("For", o.For))
	if o.Nodes != 0 && (o.Nodes < 2 || o.Nodes > 16) {
		err = errors.Join(err, fmt.Errorf("option Nodes is %d, want 2 to 16, or 0 for 3 to 5", o.Nodes))
	}
	return err
}

func known(maker Maker) error {
	if maker == nil {
		return errors.New("the maker is nil, want a function that returns a Subject")
	}
	return nil
}

func atLeastOne(name string, n int) error {
	if n < 1 {
		return fmt.Errorf("option %s is %d, want at least 1, or 0 for the default", name, n)
	}
	return nil
}

func positive(name string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("option %s is %v, want more than 0, or 0 for the default", name, d)
	}
	return nil
}
