package backend

import (
	"context"
	"iter"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// ClusterChannel is one node's seat in a cluster: it broadcasts to the others,
// knows who they are, and has a position among them. [Open] returns one. Its
// methods may be called from many goroutines at once.
type ClusterChannel interface {
	// AddState registers s under key and returns the channel that broadcasts its
	// updates. What the other members hold under the same key is merged into s
	// soon after, whenever that is. A nil opts means the defaults.
	//
	// The key is valid UTF-8 of 1 to 255 bytes. A key that is in use is ErrConfig; a closed
	// channel is ErrClosed.
	AddState(key string, s State, opts *StateOptions) (Channel, error)

	// View returns members, position, status and epoch taken together. The caller
	// owns its slices and maps.
	View() View

	// Members returns View().Members.
	Members() []Member

	// Position returns View().Position: the index of this node in Members.
	Position() int

	// Watch yields the current view and then every change of it, until ctx is done
	// or the channel is closed (the last view then has status Closed). A slow
	// reader misses what lies between, never the latest.
	Watch(ctx context.Context) iter.Seq[View]

	// WaitReady returns nil once each state that is registered is ready: it was
	// merged from, or found equal to, a ready member's; or all members lack it, or
	// there are none; or the settle limit has passed since it was added, or since
	// Open. View().Unready then names those that are not ready. It returns ctx's
	// error when ctx ends first, and ErrClosed after Close.
	WaitReady(ctx context.Context) error

	// Close sends what is queued, says goodbye, and releases everything, all
	// within ctx. Every call returns the same result; concurrent calls wait for
	// the first.
	Close(ctx context.Context) error
}

// Channel broadcasts the updates of one state. It has the method set of
// Alertmanager's cluster.ClusterChannel, and more.
type Channel interface {
	// Broadcast hands b to every other member's State.Merge. It does not block on
	// I/O and does not keep b; it may be called inside Merge and under the state's
	// own lock. What cannot be sent is counted, and sent again to who asks for it.
	//
	// The echo of an update is not sent, since it has reached all from its origin: a
	// b whose bytes are being merged at the moment, or were merged as an update of
	// another member within the last second while this node said nothing of its own.
	// The same bytes said later, or as the outcome of a state exchange, reach all.
	Broadcast(b []byte)

	// TryBroadcast is Broadcast with an error: ErrTooLarge above the payload limit,
	// ErrQueueFull when b was dropped, ErrClosed after Close or Remove. Nil means
	// queued, not delivered.
	TryBroadcast(b []byte) error

	// Remove ends the exchange of the state and releases its queue and its series. No Merge begins after it has returned. It must not be called
	// from within Merge. Further calls do nothing.
	Remove()
}

// State is replicated data. It is Alertmanager's cluster.State.
//
// Merge must be commutative, associative and idempotent: an update arrives at
// least once, in any order. Both methods may be called at any time, also while
// the other runs; Merge is never called twice at once for one state, nor on a
// goroutine that called Broadcast. An error or a panic in either is counted and
// logged, and concerns this state alone.
type State interface {
	// MarshalBinary returns the whole state in a form that Merge takes. The result
	// is not modified.
	MarshalBinary() ([]byte, error)

	// Merge takes an update, or another member's MarshalBinary. It may modify b but
	// must not keep it.
	Merge(b []byte) error
}

// A Digester is a State that knows, cheaply and exactly, whether it equals another
// one: equal states have equal digests, whatever order their data came
// in. States of equal digests are not exchanged. A state that is no Digester is
// compared by a hash of MarshalBinary, which costs a needless exchange every
// sync interval where two members marshal the same content differently.
type Digester interface {
	Digest() (uint64, error)
}

// StateOptions are the options of ClusterChannel.AddState.
type StateOptions struct {
	// QueueItems and QueueBytes bound what waits for this state's Merge: at most 16 Mi
	// items and 64 GiB; 0 means 65,536 items and 64 MiB. What does not fit is dropped,
	// counted, and repaired by state exchange.
	QueueItems int
	QueueBytes int
}

// Member is one live node of a cluster.
type Member = driver.Member

// View is one consistent picture of the cluster as a node sees it.
type View struct {
	Members  []Member  // sorted by Name, then Instance; holds this node exactly once
	Position int       // the index of this node in Members
	Status   Status    // whether the node is attached to the cluster
	Since    time.Time // when Status was entered, on this node's clock
	Err      error     // why Detached; ErrNameConflict while another member has this node's name; else nil
	Ready    Readiness // how far the first state exchange is
	Unready  []string  // keys of states that were not ready when the settle limit passed, and still are not; the first 16, sorted
	Isolated bool      // Detached for longer than Timing.Grace: Config.OnIsolation was carried out
	Disputed []string  // disagreements with other members' views, for people: "b does not hear this node"; the first 16, sorted
	Epoch    uint64    // grows with every change of this view; not comparable between nodes
}

// Self returns this node's own entry of v.
func (v View) Self() Member { return v.Members[v.Position] }

// Status reports whether a node is attached to its cluster.
type Status int

const (
	Detached Status = iota // not heard by the cluster; Members is the last known view, or this node alone
	Attached               // hears and is heard
	Closed                 // Close was called
)

// String returns the status in lower case, as logs and metrics show it.
func (s Status) String() string {
	switch s {
	case Detached:
		return "detached"
	case Attached:
		return "attached"
	case Closed:
		return "closed"
	default:
		return "unknown"
	}
}

// Readiness says how the first state exchange ended.
type Readiness int

const (
	Settling Readiness = iota // not yet
	Synced                    // merged from, or equal to, a ready member that has it; or all members lack it
	Alone                     // there is no other member
	TimedOut                  // the settle limit passed first; repair goes on
)

// String returns the readiness in lower case, as logs and metrics show it.
func (r Readiness) String() string {
	switch r {
	case Settling:
		return "settling"
	case Synced:
		return "synced"
	case Alone:
		return "alone"
	case TimedOut:
		return "timed_out"
	default:
		return "unknown"
	}
}
