package core

import "time"

// The budgets and bounds of the protocol. docs/protocol.md states them, and a
// test holds the two together.
const (
	// Numbers.
	maxNumber    = 1 << 62                // the highest number that is believed
	maxRaise     = 1 << 16                // how far a claimed incarnation may be from what its instance used
	holdDelay    = 250 * time.Millisecond // after sending an update, before this node claims to hold it itself
	reorderDelay = 250 * time.Millisecond // for which a missing update may still be on its way

	// Sending again.
	keptBytes      = 256 << 10              // of the last updates of one key
	keptItems      = 8192                   // of one key
	keptTotal      = 16 << 20               // of all keys of a node
	keptFor        = 10 * time.Minute       // after which an update is not sent again
	originAsks     = 3                      // of an origin, before others are asked
	originPatience = 500 * time.Millisecond // after the first; it doubles
	resendWindow   = 250 * time.Millisecond // within which one resend on a bus serves all who ask
	maxWants       = 64                     // keys in one Missing
	maxWantRanges  = 16                     // ranges of one key in a Missing, a Pull or an Answer

	// Searching.
	maxAsked    = 8               // members asked in one round
	maxRounds   = 6               // of a search
	maxSearch   = 2 * time.Minute // for which a hole is searched
	firstPause  = time.Second     // between two rounds; it doubles
	maxPause    = 30 * time.Second
	roundStep   = 50 * time.Millisecond  // rounds begin at multiples of it, those of many states together
	busyPause   = time.Second            // before a key whose own state is busy is tried again
	joinPause   = 250 * time.Millisecond // before a member that appeared is compared with
	metPatience = 3 * time.Second        // for one that was met and differs to ask for itself

	// Exchanging.
	startsPerSecond  = 4
	startsBurst      = 16
	maxPulls         = 4                      // under way at once
	digestPatience   = 500 * time.Millisecond // for the own states to tell their digests
	answerPatience   = 2 * time.Second        // without any sign of an answer
	piecesPatience   = 500 * time.Millisecond // for pieces that the end of an answer has overtaken
	piecesFor        = 30 * time.Second       // for which pieces alone keep an exchange alive: they may be of something else
	latePatience     = time.Minute            // for the answer of a state that was busy
	rootAbove        = 4                      // keys, from where on one digest stands for all
	lateRetry        = 10 * time.Second       // before it is asked once more
	answersPerSecond = 16
	answersBurst     = 64
	bytesPerSecond   = 32 << 20 // answered, pushed and sent again
	bytesBurst       = 64 << 20
	answerBatch      = 64 << 10               // bytes of small states in one frame of an answer
	answerPause      = 5 * time.Millisecond   // for which such a frame waits for more
	maxAskers        = 256                    // that wait for an answer
	maxEarly         = 16                     // askers that are no members yet
	maxMarshals      = 4                      // of one state that others asked for
	maxAnswers       = 16                     // under way at once
	busyAfter        = 500 * time.Millisecond // before a state that is asked for counts as busy
	shareWindow      = 50 * time.Millisecond  // within which one answer on a bus serves all who ask

	// Exchanging entries.
	roomMost     = 1 << 20          // bytes of entries in one step; a larger entry has one of its own
	roomLeast    = 4 << 10          // the same, where many states are walked through at once
	roomOfAll    = 4 << 20          // of the steps of all walks that this node takes
	maxSteps     = 256              // of a walk, that bring less than roomLeast
	stepPatience = time.Second      // for the answer to a step, before it is said again
	stepTries    = 3                // before the walk is given up
	spurnedMost  = 1 << 20          // bytes of entries that are refused, and twice what is merged, before the rest is left
	spurnedTimes = 16               // doublings of the time for which what was refused is not moved again
	spurnedFor   = time.Hour        // at most
	maxGuests    = 256              // walks of others that this node answers
	guestFor     = 10 * time.Second // for which one is known that does not go on

	// Readiness.
	earlyAll  = 2                      // joining members, of whom each is asked before the cold start; of more, one is
	earlyAsk  = 250 * time.Millisecond // after the attachment, before a joining member is asked for what it has
	coldStart = 3 * time.Second        // after which joining members settle on each other
	maxNamed  = 16                     // states that a view names

	// Members.
	maxMembers      = 4096
	maxDeparted     = 1024
	maxStrangers    = 256
	departedFor     = 10 * time.Minute // for which the departed are known, at least
	strangerFor     = time.Minute
	maxStreams      = 1 << 20 // numbers are kept of: members times keys
	maxStrangerKeys = 16      // of one stranger
	maxRetired      = 4096    // keys that were removed, whose numbers are known
	maxUnregistered = 64      // keys that are not registered here and whose updates were missed
	unregisteredFor = 5 * time.Second
	voidAfter       = 6                      // increasing heartbeats that were not believed
	voidAfterMarks  = 2                      // with native membership, where they are rare
	tellDeparted    = 3                      // heartbeats that tell the last numbers of a member that went
	helloTimes      = 3                      // heartbeats that ask for a list, until one comes
	listDelay       = 20 * time.Millisecond  // before a hello is answered
	standIn         = 250 * time.Millisecond // before the next one answers it
	maxStandIns     = 4
	rumourFor       = 5 * time.Second // after a hello, for which a list is believed
	linger          = 500 * time.Millisecond
	listsPerSecond  = 4
	listsBurst      = 8
	voidsPerSecond  = 1
	voidsBurst      = 4
	raiseEvery      = 5 * time.Second
	raiseBurst      = 3

	// Heartbeats.
	tellChanged = 16                     // keys that changed, in one heartbeat
	tellIdle    = 16                     // others, in turn, in one that is not short
	fullEvery   = 4                      // heartbeats, of which one at least is not short
	volley      = 60                     // members that beat together, in a cluster of more
	tellTimes   = 3                      // heartbeats that tell of a change
	markEvery   = 30 * time.Second       // between marks, with native membership
	markAgain   = 5 * time.Second        // before a mark tells a change once more
	markDelay   = 250 * time.Millisecond // without an update, before a mark tells the last numbers

	// Standing still and catching up.
	catchUpLimit = 3 * time.Second
	catchUpLeast = 250 * time.Millisecond // where there is nothing to compare, and no frame to wait for
	isolatedTurn = 2 * time.Second        // at most, in which a node that is isolated looks for the others before its turn comes
	partedBeats  = 2                      // intervals, in which those that an isolated node lost may show themselves

	// Views.
	publishAtOnce = 64                    // members up to which every change is published at once
	publishPause  = 20 * time.Millisecond // between two views of a larger cluster
	disputeAfter  = 2                     // detection times, before a disagreement is named
	steadyBeats   = 6                     // intervals, after which a member counts for the digest of a view
)
