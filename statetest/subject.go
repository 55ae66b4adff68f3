package statetest

import (
	"cmp"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// A Maker returns another state, as a node starts with: an empty one, which shares
// nothing with those before. It may fail t.
type Maker func(t testing.TB) Subject

// Subject is one member's state, with what is needed to use it.
type Subject struct {
	// State is what is examined. Where Attach adds another one, that is.
	State backend.State

	// Change changes the state as its service would, once and at random, but by r alone.
	// Let it meet few keys often. An error is a failure.
	Change func(r *rand.Rand) error

	// Attach adds the state to a node under a key, and has what Change does broadcast.
	// Nil: the state is added, and nothing is broadcast.
	Attach func(node backend.ClusterChannel, key string) error

	// Content returns what the users of the state see, the same text for the same content.
	// States are equal if it is, and their ids or digests are. Nil: by those alone, or
	// else by MarshalBinary, which is then to be deterministic.
	Content func() string

	// Close releases the state. Nil: there is nothing to release.
	Close func()
}

// Options are those of Check. The zero value means the defaults.
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

func (o *Options) filled() Options {
	var f Options
	if o != nil {
		f = *o
	}
	f.Seed = cmp.Or(f.Seed, 1)
	if f.Rounds == 0 {
		f.Rounds = 30
		if testing.Short() {
			f.Rounds = 10
		}
	}
	f.Changes = cmp.Or(f.Changes, 30)
	f.Patience = cmp.Or(f.Patience, patience)
	return f
}
