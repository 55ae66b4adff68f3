package core

import "time"

// Core is the machine. Its methods must not be called at once.
type Core struct {
	cfg Config
	now time.Duration
}

// stream is what is known of the numbers of one origin for one key.
type stream struct{}

// New returns the core of a node that is detached and knows nobody.
func New(cfg Config, now time.Duration) *Core { return &Core{cfg: cfg, now: now} }

// Step takes in that e has happened. now must not be before that of any former
// call.
func (c *Core) Step(now time.Duration, e Event) {}

// Effects returns what is to be done, in order, and forgets it. The slice is
// valid until the next call.
func (c *Core) Effects() []Effect { return nil }

// Next returns when Tick is to be stepped, unless another event comes before:
// Never, or a time that may have passed.
func (c *Core) Next() time.Duration { return Never }

// View returns the view as last published.
func (c *Core) View() *View { return nil }

// Late reports whether the core was to run so long ago that this process must
// have stood still. The shell asks before it answers for the view, or lets a turn
// come: where it is true it steps a Tick first, which makes the status Detached
// until what came meanwhile is merged. It allocates nothing.
func (c *Core) Late(now time.Duration) bool { return false }

// Assign gives the update data of key its number. It is called in the order in
// which updates are queued for sending. A copy of data is kept, to be sent again
// to who missed it.
func (c *Core) Assign(key string, data []byte) (incarnation uint32, number uint64) { return 0, 0 }

// Sent says that every update of key up to number has been handed to the driver,
// or was dropped after those before it had been. The others are told these
// numbers.
func (c *Core) Sent(now time.Duration, key string, number uint64) (wake bool) { return false }

// Receive takes in that an update of origin arrived, and says what is to become
// of it. After Deliver the shell queues it and calls Queued.
func (c *Core) Receive(now time.Duration, origin, key []byte, incarnation uint32, number uint64) (v Verdict, r Ref, wake bool) {
	return Refused, Ref{}, false
}

// Queued says whether there was room for a received update in its state's queue.
// What there was no room for is missing, and is asked for later.
func (c *Core) Queued(now time.Duration, r Ref, ok bool) (wake bool) { return false }

// UpdateMerged says that the Merge of a queued update has returned. After an
// error the update is not held for merged.
func (c *Core) UpdateMerged(now time.Duration, r Ref, err error) (wake bool) { return false }

// Begin says that the job of a Marshal effect begins in its state's queue: what
// was merged until now will be in its result.
func (c *Core) Begin(j Job) {}

// Head returns what a full state of this node says beside the states themselves.
// It is called before they are marshalled, with their keys. The shell fills in
// the digests it knows.
func (c *Core) Head(keys []string) *Head { return nil }
