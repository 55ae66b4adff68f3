// Package core is the protocol of a cluster as a machine: who is a member, what
// was missed and how it is repaired, and when a node is ready. It has no
// goroutines, locks, clocks or I/O. What happens is told to it by [Core.Step],
// with the time; what is to be done comes back from [Core.Effects]; and
// [Core.Next] says when it wants a [Tick]. The same calls give the same effects,
// so a run can be replayed from its events and its seed.
//
// # The shell
//
// A shell drives one Core under one lock:
//
//	mu.Lock()
//	c.Step(now, event)
//	effects := c.Effects()
//	wake := c.Next()
//	mu.Unlock()
//	// carry out effects, in order; wake up at wake and step Tick
//
// Time is the time since any fixed moment on the node's own monotonic clock; it
// never runs backwards. Nothing is ever compared between two nodes' clocks.
//
// The path of a message is calls and not events, for it is walked a hundred
// thousand times a second: [Core.Assign] and [Core.Sent] for what is sent,
// [Core.Receive], [Core.Queued] and [Core.UpdateMerged] on the way in. They
// allocate nothing in the usual case and are made under the same lock. After one
// that returns wake as true, the shell asks for Next and Effects as after Step.
//
// Nothing that is handed over is kept unless its comment says so. Nothing that
// comes out is modified by the core afterwards; a []byte in an effect is the
// one that came in by an event.
//
// # Files
//
// What a node has said and received: ranges.go (sets of numbers), path.go (the
// calls on the path of a message), stream.go (the account of one origin and key),
// state.go, kept.go and origin.go (what it can send again, and does), hole.go
// (what is missing), unregistered.go.
//
// Exchange: search.go (asking one member after another), wanted.go (what begins
// an exchange), met.go (two parts of a cluster that meet), asked.go and answered.go
// (its two ends), walk.go and guest.go (the same, entry by entry), account.go (the numbers that it carries), push.go, ready.go,
// budget.go.
//
// Members: node.go (what is known of one), members.go and life.go (its life),
// incarnation.go, list.go, beat.go, native.go, dispute.go (views that disagree).
//
// The node itself: link.go (attached, catching up, isolated), close.go, turn.go,
// machine.go. limits.go holds every budget. The files testdata/*.txt are
// transcripts: they show the protocol, one event a line and its effects below it.
package core

import (
	"math"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// Never is what Next returns when nothing is to be waited for.
const Never = time.Duration(math.MaxInt64)

// Config says how a node behaves. The durations must be positive.
type Config struct {
	Self      Member
	Heartbeat time.Duration // between heartbeats in a cluster of up to 10
	Grace     time.Duration // for which a detached node keeps its view
	Settle    time.Duration // for which readiness is waited for at most
	Sync      time.Duration // between two comparisons with another member
	Hold      bool          // keep the view when detached for longer than Grace, instead of becoming alone
	Seed      uint64        // of all that is random: jitter, and the order in which members are asked
}

// Member is who a node says that it is. A member of a native list without an
// Instance is foreign: it speaks another protocol (Alertmanager's).
type Member struct {
	Name, Instance, Addr string
	Meta                 map[string]string // never modified
}

// An Event is something that has happened. See the types that implement it.
type Event interface{ event() }

// The events.
type (
	// Tick: nothing but time has passed.
	Tick struct{}

	// LinkUp: the driver says that it is attached, or attached again: frames may
	// have been lost before.
	LinkUp struct{ Transport Transport }

	// LinkDown: the driver says that the link is lost, or it could not be opened.
	LinkDown struct{ Err error }

	// Received: a frame that is no update has arrived and was decoded. From is the
	// instance that made it, which may be this node itself: hearing its own
	// heartbeat is how a node on a bus knows that it is heard. Size is its encoded
	// length. The core keeps the message and what it refers to.
	Received struct {
		From    string
		Message Message
		Size    int
	}

	// Progress: a piece of a larger frame of From has arrived.
	Progress struct{ From string }

	// Unsent: a message of a Send effect could not be handed to To, which the
	// transport does not know or cannot reach.
	Unsent struct{ To string }

	// Listed: the transport's own list of live members (Transport.Native only).
	Listed struct{ Members []Member }

	// Left: the transport says that the member left by its own will. It comes
	// before the Listed without it.
	Left struct{ Member Member }

	// Exchanged: the transport's own exchange brought a full state, and all of it
	// is merged. Head is what the other node's [Core.Head] said, nil for a foreign
	// node. Keys are the states that it held; Failed are those of them that could
	// not be merged.
	Exchanged struct {
		Head         *Head
		Keys, Failed []string
	}

	// StateAdded: a state is registered under Key, without receipts: whatever was
	// merged into a former state of that key says nothing about this one. Queue is
	// how many updates may wait for it; 0 means any number.
	StateAdded struct {
		Key   string
		Queue int
	}

	// StateRemoved: the state under Key is gone.
	StateRemoved struct{ Key string }

	// Marshalled ends a Marshal effect. Digest counts only where HasDigest is set;
	// a state that marshals differently each time has none. Data is nil where it
	// was not wanted or the digest was among Unless. The core keeps Data.
	Marshalled struct {
		Job       Job
		Digest    uint64
		HasDigest bool
		Entries   uint64          // one more than it has, if the state can be taken apart
		View      *reconcile.View // of its entries, instead of Data, where Apart was set
		Data      []byte
		Err       error
	}

	// Fetched ends a Fetch effect. Entries are of the first Taken ids, less those that
	// are not there any more.
	Fetched struct {
		Job     Job
		Entries [][]byte
		Taken   int
		Err     error
	}

	// Merged ends a Merge effect: the state's Merge has returned, or could not be
	// called (Full: its queue had no room). Digest is the state's afterwards. Of
	// entries all are merged that can be: so many were Refused, and Err is the first
	// one's.
	Merged struct {
		Job       Job
		Digest    uint64
		HasDigest bool
		Full      bool
		Refused   int
		Err       error
	}

	// Close: the node is to leave. It is told once. The shell then flushes what is
	// queued, within its own limits, and says Flushed; effects go on until Closed.
	Close struct{}

	// Flushed: nothing more will be assigned or sent by the message path.
	// A node that is alone is closed at once, others after a moment in which they can
	// still be asked by those that missed the last updates.
	Flushed struct{}

	// Hurry: the node is to be closed without that moment.
	Hurry struct{}
)

func (Tick) event()         {}
func (LinkUp) event()       {}
func (LinkDown) event()     {}
func (Received) event()     {}
func (Progress) event()     {}
func (Unsent) event()       {}
func (Listed) event()       {}
func (Left) event()         {}
func (Exchanged) event()    {}
func (StateAdded) event()   {}
func (StateRemoved) event() {}
func (Marshalled) event()   {}
func (Fetched) event()      {}
func (Merged) event()       {}
func (Close) event()        {}
func (Flushed) event()      {}
func (Hurry) event()        {}

// Transport is what the driver of the moment can do.
type Transport struct {
	Native   bool          // it lists the members itself, and its list alone decides who is present
	Unicast  bool          // it can send to one member alone
	Exchange bool          // it moves full states by itself too
	Copies   time.Duration // how long copies of a frame can still arrive after it was sent; 0: a second
}

// An Effect is something that the shell is to do. See the types that implement
// it.
type Effect interface{ effect() }

// The effects.
type (
	// Send: Message is to be sent to the member To, or to all where To is empty. On
	// a transport without unicast all get it, and whom it concerns is in the
	// message. Control messages are few and small, but for the data of an Answer or
	// a Push; those may wait, the others must not wait behind them. What cannot be
	// sent is dropped; for a unicast, Unsent is then told.
	Send struct {
		To      string
		Message Message
	}

	// Resend: the updates are to be sent once more, with the numbers that they
	// have, to To or to all. They are valid until the next call of the core, so the
	// shell encodes them before.
	Resend struct {
		To          string
		Incarnation uint32
		Updates     []Update
	}

	// Marshal: the state under Key is to be marshalled in its turn, after all that
	// is queued for it. When that begins, the shell calls Begin(Job), and when it
	// ends, it steps Marshalled: once for each Marshal, with an error where the state
	// is gone. With OnlyDigest the digest is enough; so it is when
	// it is among Unless. With Apart a view of the entries is wanted instead of the
	// data, where the state can be taken apart: under Salt, or if that is 0 under one
	// that the shell picks at random, the same at most for as long as the entries are. With
	// Whole the state is compared as one that cannot be taken apart, by who knows no
	// other: by the digest that it then has, and without Entries.
	Marshal struct {
		Job        Job
		Key        string
		OnlyDigest bool
		Whole      bool
		Unless     []uint64
		Apart      bool
		Salt       uint64
	}

	// Fetch: the entries of IDs are to be fetched from the state under Key, in its turn
	// and in this order, until they have Room bytes: one at least, whatever it has.
	// Fetched is stepped once for each Fetch.
	Fetch struct {
		Job  Job
		Key  string
		IDs  []reconcile.ID
		Room int
	}

	// Merge: Data is to be merged into the state under Key, in its turn, or each of
	// Entries by itself. Merged is stepped once for each Merge, when that is over. With
	// Digest its digest afterwards is wanted: of Data that of the whole state. What Entries
	// are in is Home, where the shell said so of the message that brought them: nobody reads
	// it after that.
	Merge struct {
		Job     Job
		Key     string
		Data    []byte
		Entries [][]byte
		Home    []byte
		Digest  bool
	}

	// Reopen: the driver delivers nothing although it says that it is attached; it
	// is to be closed and another one opened. What it says until then is ignored by
	// the shell.
	Reopen struct{ Err error }

	// Publish: the view has changed.
	Publish struct{ View *View }

	// StateReady: the state under Key is ready, or its limit has passed (How is
	// TimedOut). It may come more than once: TimedOut, and Synced later.
	StateReady struct {
		Key string
		How Readiness
	}

	// Closed: all is said; the driver can be closed.
	Closed struct{}

	// Note: something worth counting or logging has happened.
	Note struct {
		Kind   NoteKind
		Member Member        // whom it is about, if anybody
		Key    string        // which state, if any
		Count  uint64        // how many, where that makes sense
		Took   time.Duration // how long, where that makes sense
		Text   string        // for people
	}
)

func (Send) effect()       {}
func (Resend) effect()     {}
func (Marshal) effect()    {}
func (Fetch) effect()      {}
func (Merge) effect()      {}
func (Reopen) effect()     {}
func (Publish) effect()    {}
func (StateReady) effect() {}
func (Closed) effect()     {}
func (Note) effect()       {}

// Job names one Marshal or Merge effect.
type Job uint64

// Update is one update of this node, to be sent again.
type Update struct {
	Key    string
	Number uint64
	Data   []byte
}

// View is one consistent picture of the cluster. It is never modified.
type View struct {
	Members  []Member // sorted by name, then instance; holds this node exactly once
	Position int      // of this node in Members
	Status   Status
	Since    time.Duration // when Status was entered
	Err      error         // why Detached, or what is wrong while Attached
	Ready    Readiness
	Unready  []string // states that were not ready when the limit passed, and still are not; the first 16, sorted
	Isolated bool     // detached for longer than grace: the policy was carried out
	Disputed []string // disagreements with other members' views, for people, sorted
	Epoch    uint64
}

// Status is whether a node is attached to its cluster.
type Status uint8

// The values of Status.
const (
	Detached Status = iota // not heard, or not caught up yet
	Attached
)

// Readiness is how far the first exchange of a state, or of all, is.
type Readiness uint8

// The values of Readiness.
const (
	Settling Readiness = iota
	Synced             // merged from, or equal to, a ready member; or all members lack it
	Alone              // there is no other member
	TimedOut           // the limit passed first; repair goes on
)

// Verdict is what Receive says of an update.
type Verdict uint8

// The values of Verdict.
const (
	Deliver   Verdict = iota // queue it for its state, and call Queued
	Duplicate                // it arrived before, or waits in the queue: drop it
	Unknown                  // no such state here: drop it
	Refused                  // not to be believed: drop it and count it
	Own                      // this node's own update came back: drop it
)

// Ref names a received update from Receive to UpdateMerged.
type Ref struct {
	stream *stream
	number uint64
}
