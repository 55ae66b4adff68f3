package core

import (
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// A Message is a decoded frame that is no update. The codec bounds every list and
// every length before it allocates; the core checks what the values mean. Every
// message carries, in the frame's header, the instance that made it.
type Message interface{ message() }

// The messages.
type (
	// Heartbeat: the node lives. It is what a bus's membership is made of; with
	// native membership it is a rare mark that tells numbers and the view's digest. A
	// short one says that all from Member on is as it was in an earlier one.
	Heartbeat struct {
		Incarnation uint32
		Count       uint64     // grows with every heartbeat of the instance; only a higher one is a sign of life
		Like        uint64     // of a short one: the count of that earlier one, of the same incarnation; else 0
		Numbers     []Last     // its own last numbers: of keys that changed lately, and of some others in turn
		Departed    []Departed // the last numbers of members that have just gone

		Member   Member        // Instance is that of the frame's header
		Interval time.Duration // until the next; on the wire in milliseconds
		Hello    bool          // asks for a List
		Leaving  bool          // it is about to leave; sticky
		Alone    bool          // it hears what is sent to it alone
		Brief    bool          // it understands short ones
		Worth    Worth         // what an exchange with it is worth
		KeySet   uint64        // a hash of the keys of its states
		View     ViewDigest
	}

	// Goodbye: the node has left; this is its last frame.
	Goodbye struct {
		Incarnation uint32
		Count       uint64
		Numbers     []Last
	}

	// Void: the sender holds this incarnation of Instance for gone, yet hears it go
	// on. Whom it names raises its incarnation.
	Void struct {
		Instance    string
		Incarnation uint32
	}

	// List: who the members are, as the sender sees it. To is empty for an answer to
	// a Hello.
	List struct {
		To      string
		Members []ListMember
	}

	// ListRequest asks To for a List.
	ListRequest struct{ To string }

	// Missing asks the origin To to send updates again.
	Missing struct {
		To    string
		Wants []Want
	}

	// Kept is an origin's answer to Missing, besides the updates themselves: its
	// true last numbers, and what it no longer keeps. All may learn from it.
	Kept struct {
		Incarnation uint32
		Keys        []KeptKey
	}

	// Pull asks To to compare states. With HasRoot one digest stands for the
	// digests of all Keys, and Items only tell of holes.
	Pull struct {
		To      string
		ID      uint64
		HasRoot bool
		Root    uint64
		Keys    uint64 // how many states Root stands for
		Items   []PullItem
	}

	// Answer answers the pulls of one or more askers, in one or more frames.
	Answer struct {
		For    []Asker
		Items  []AnswerItem
		Differ bool     // the roots differ: the asker is to send a digest a state
		End    bool     // nothing comes after this one, in the order of sending
		Sent   []string // with End: the keys that were sent with data
	}

	// Push gives To a state that it lacks, unasked.
	Push struct {
		To     string
		Key    string
		Digest uint64
		Data   []byte
	}

	// Walk is one step of who found by an Answer that the entries of a state differ:
	// it asks To where, and for what it lacks.
	Walk struct {
		To      string
		ID      uint64 // of the pull
		Key     string
		Step    uint64 // from 1; one that is said again has the number that it had
		Room    uint64 // how many bytes of entries the answer may have; one entry may have more
		Ask     reconcile.Request
		Entries [][]byte // that To lacks
		Home    []byte   // the buffer that they are in, of the shell that has received them: see Merge
		More    bool     // such follow
	}

	// Walked answers a step.
	Walked struct {
		For     Asker
		Key     string
		Step    uint64
		Outcome Outcome // Apart: here is what was asked for; Lacking: no such walk; Later
		Reply   reconcile.Reply
		Entries [][]byte // that the asker lacks
		Home    []byte   // the buffer that they are in, of the shell that has received them: see Merge
		Gone    bool     // some of these are not there any more
		Refused uint64   // so many of the step's entries were not merged
	}
)

func (*Heartbeat) message()   {}
func (*Goodbye) message()     {}
func (*Void) message()        {}
func (*List) message()        {}
func (*ListRequest) message() {}
func (*Missing) message()     {}
func (*Kept) message()        {}
func (*Pull) message()        {}
func (*Answer) message()      {}
func (*Push) message()        {}
func (*Walk) message()        {}
func (*Walked) message()      {}

// Worth is what an answer of a node is worth.
type Worth uint8

// The values of Worth. The zero value is the least.
const (
	Joining   Worth = iota // its own first exchange is not over
	Repairing              // attached again, and the comparison of that is open
	Whole                  // ready
)

// ViewDigest stands for the list of the members that have been steady.
type ViewDigest struct {
	Hash  uint64 // the exclusive or of a hash of each one's instance
	Count uint64
}

// DigestOf returns the digest of a view that has these instances.
func DigestOf(instances ...string) ViewDigest {
	d := ViewDigest{Count: uint64(len(instances))}
	for _, id := range instances {
		d.Hash ^= hashOf(id)
	}
	return d
}

// Last is an origin's last number for one key.
type Last struct {
	Key    string
	Number uint64
}

// Departed are the last numbers of a member that has gone.
type Departed struct {
	Instance    string
	Incarnation uint32
	Numbers     []Last
}

// ListMember is a member in a List.
type ListMember struct {
	Member      Member
	Incarnation uint32
	Count       uint64 // of its last heartbeat
	Interval    time.Duration
	Worth       Worth
	KeySet      uint64
}

// Want are the numbers of one key that are asked for.
type Want struct {
	Key         string
	Incarnation uint32
	Numbers     Ranges
}

// KeptKey is what an origin says of one key: its last number, and which of those
// that were asked for it does not keep any more.
type KeptKey struct {
	Key  string
	Last uint64
	Gone Ranges
}

// Numbers are numbers of one origin, for one key that is known from around it.
type Numbers struct {
	Origin      string
	Incarnation uint32
	Ranges      Ranges
}

// PullItem is one state in a Pull.
type PullItem struct {
	Key       string
	HasDigest bool
	Digest    uint64
	Holes     []Numbers // that the asker wants closed
	All       bool      // it wants all numbers: it has none of its own yet
	Entries   uint64    // one more than the asker has, if its state can be taken apart
}

// Asker is a pull that an Answer answers.
type Asker struct {
	Instance string
	ID       uint64
}

// AnswerItem is one state in an Answer. An empty Key with the verdict Equal
// stands for all states of the pull's root.
type AnswerItem struct {
	Key       string
	Outcome   Outcome
	Worth     Worth // of this state at the answerer
	HasDigest bool
	Digest    uint64
	Data      []byte
	Numbers   []Numbers // with Equal, Data and Apart: what of the holes asked about is in the state
	Salt      uint64    // with Apart
	Sketch    []uint64  // with Apart: fingerprints, under the salt
}

// Outcome is how a state of a pull is answered.
type Outcome uint8

// The values of Outcome.
const (
	Equal   Outcome = iota // the digests agree
	Data                   // here is the state
	Lacking                // no such state here
	Busy                   // slow; the answer follows, if it comes
	Later                  // it fails, the budget is spent, or it is compared already; ask again, or somebody else
	Apart                  // the entries differ: the asker is to walk; only where it can take the state apart
)

// Head travels with the transport's own full state, beside the states: it is to
// a native exchange what Answer is to a Pull. Foreign nodes skip it.
type Head struct {
	Instance string
	View     ViewDigest
	Items    []AnswerItem // without data
}

// Range is the numbers First to Last, both included.
type Range struct{ First, Last uint64 }

// Ranges is a set of numbers: ranges in order, apart from each other by at least
// one. The zero value is the empty set.
type Ranges []Range

// SizeOf returns how many bytes entries have.
func SizeOf(entries [][]byte) (n int) {
	for _, b := range entries {
		n += len(b)
	}
	return n
}
