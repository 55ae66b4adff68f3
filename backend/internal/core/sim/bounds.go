package sim

import "time"

// What the specification sets limits for, with room for what the model adds.
const (
	startsASecond = 4 // exchanges that a node begins
	startsAtOnce  = 16

	bytesASecond = 32 << 20 // of states, that a node answers
	bytesAtOnce  = 64 << 20

	entriesAtOnce = 1<<20 + 1<<16 // bytes of entries in one step, and what frames them

	framesASecond = 40 // of control, that a node sends
	framesAtOnce  = 300

	ticksASecond = 20 // that lead to nothing
	ticksAtOnce  = 100
)

// detect is how long it takes at most until what happened to a member, or to the
// node's own link, is known, in a cluster of n.
func (t Timing) detect(n int) time.Duration {
	return 6 * t.Heartbeat * time.Duration(max(n, 10)) / 10
}

// unfelt is how long a member is silent at least before it counts as failed.
func (t Timing) unfelt() time.Duration { return 5 * t.Heartbeat / 2 }

// catchUpLimit is for how long at most a node that stood still is detached until
// it has what came meanwhile.
const catchUpLimit = 3 * time.Second
