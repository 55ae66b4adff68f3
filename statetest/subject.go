package statetest

import (
	"math/rand/v2"
	"testing"

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
	// Let it meet few keys often. An error is a failure, and so are a hundred calls of
	// which nothing is seen.
	Change func(r *rand.Rand) error

	// Attach adds the state to a node under a key, and has what Change does broadcast
	// before that returns. Nil: the state is added, and nothing is broadcast.
	Attach func(node backend.ClusterChannel, key string) error

	// Content returns what the users of the state see, the same text for the same content.
	// States are equal if it is, and their ids or digests are. Nil: by those alone, or
	// else by MarshalBinary, which is then to be deterministic.
	Content func() string

	// Close releases the state. Nil: there is nothing to release.
	Close func()
}
