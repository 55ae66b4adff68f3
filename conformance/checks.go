package conformance

import (
	"slices"
	"time"
)

// level tells what a check needs: a working backend, or one that it may break.
type level int

const (
	basic level = iota
	fault
)

func (l level) String() string {
	if l == fault {
		return "fault"
	}
	return "basic"
}

// needs are the hooks of the harness without which a check cannot run.
type needs int

const (
	needsServer  needs = 1 << iota // Harness.Server, which it stops
	needsCut                       // Harness.Server or Cut
	needsBad                       // Harness.Bad
	needsInject                    // Harness.Inject
	needsResidue                   // Harness.Residue, where there is a Harness.Server
)

// missing names the hook that h lacks, or is empty.
func (n needs) missing(h Harness) string {
	switch {
	case n&needsServer != 0 && (h.Server == nil || h.Address != ""):
		return "Server"
	case n&needsCut != 0 && h.Server == nil && h.Cut == nil:
		return "Server or Harness.Cut"
	case n&needsBad != 0 && h.Bad == nil:
		return "Bad"
	case n&needsInject != 0 && h.Inject == nil:
		return "Inject"
	case n&needsResidue != 0 && h.Server != nil && h.Residue == nil:
		return "Residue"
	}
	return ""
}

// check is one row of the suite.
type check struct {
	name  string
	level level
	rules []int // lines of the contract
	needs needs
	alone bool // measures the process: nothing else may run
	body  func(*env)
}

func (c *check) rule() string { return ruleText(c.rules) }

// limit is how long, by default, a check may take before it counts as hanging.
const limit = 90 * time.Second

func find(name string) *check {
	i := slices.IndexFunc(checks, func(c *check) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return checks[i]
}

var checks []*check

func init() {
	// Assigned here, since the checks themselves look at the table.
	checks = []*check{
		{"config/unknown-backend", basic, []int{18}, 0, false, configUnknownBackend},
		{"config/bad-params", basic, []int{18}, needsBad, false, configBadParams},
		{"config/cancelled-context", basic, []int{18}, 0, true, configCancelledContext},
		{"config/unreachable-degrades", fault, []int{18, 12}, needsServer, false, configUnreachableDegrades},

		{"members/self-at-once", basic, []int{8}, 0, false, membersSelfAtOnce},
		{"members/join", basic, []int{9}, 0, false, membersJoin},
		{"members/leave-is-prompt", basic, []int{10}, 0, false, membersLeaveIsPrompt},
		{"members/crash-is-detected", fault, []int{10, 13}, 0, false, membersCrashIsDetected},
		{"members/no-flap", basic, []int{11}, 0, false, membersNoFlap},
		{"members/rejoin-after-leave", basic, []int{9}, 0, false, membersRejoinAfterLeave},
		{"members/rejoin-after-crash", fault, []int{9}, 0, false, membersRejoinAfterCrash},
		{"members/same-name-twice", basic, []int{9}, 0, false, membersSameNameTwice},
		{"members/snapshot-is-a-copy", basic, []int{15}, 0, false, membersSnapshotIsACopy},
		{"members/events-match", basic, []int{9}, 0, false, membersEventsMatch},
		{"members/slow-merge-keeps-seat", basic, []int{11}, 0, false, membersSlowMergeKeepsSeat},

		{"position/dense-and-unique", basic, []int{15}, 0, false, positionDenseAndUnique},
		{"position/is-index-of-self", basic, []int{15}, 0, false, positionIsIndexOfSelf},
		{"position/shifts-on-leave", basic, []int{17}, 0, false, positionShiftsOnLeave},
		{"position/steady-under-load", basic, []int{17}, 0, false, positionSteadyUnderLoad},

		{"broadcast/reaches-others", basic, []int{1}, 0, false, broadcastReachesOthers},
		{"broadcast/any-bytes", basic, []int{1}, 0, false, broadcastAnyBytes},
		{"broadcast/keys-apart", basic, []int{1, 14}, 0, false, broadcastKeysApart},
		{"broadcast/buffer-not-kept", basic, []int{3}, 0, false, broadcastBufferNotKept},
		{"broadcast/reentrant", basic, []int{3, 6}, 0, false, broadcastReentrant},
		{"broadcast/never-blocks", fault, []int{3, 4}, 0, true, broadcastNeverBlocks},
		{"broadcast/size-matrix", basic, []int{5}, 0, false, broadcastSizeMatrix},
		{"broadcast/concurrent", basic, []int{1}, 0, false, broadcastConcurrent},
		{"broadcast/bad-peer-bytes", basic, []int{7, 14}, 0, false, broadcastBadPeerBytes},
		{"broadcast/one-bad-state", basic, []int{7}, 0, false, broadcastOneBadState},

		{"sync/late-joiner", basic, []int{2}, 0, false, syncLateJoiner},
		{"sync/late-state", basic, []int{2}, 0, false, syncLateState},
		{"sync/both-ways", basic, []int{2}, 0, false, syncBothWays},
		{"sync/anti-entropy", basic, []int{2}, 0, false, syncAntiEntropy},
		{"sync/gap", fault, []int{2}, 0, false, syncGap},
		{"sync/large", basic, []int{2, 11}, 0, false, syncLarge},

		{"ready/waits-for-sync", basic, []int{19}, 0, false, readyWaitsForSync},

		{"isolation/cluster-name", basic, []int{14}, 0, false, isolationClusterName},
		{"isolation/foreign-data", basic, []int{14}, needsInject, false, isolationForeignData},

		{"fault/server-restart", fault, []int{12, 2}, needsServer, false, faultServerRestart},
		{"fault/server-emptied", fault, []int{12, 2}, needsServer, false, faultServerEmptied},
		{"fault/short-outage", fault, []int{11}, needsCut, false, faultShortOutage},
		{"fault/long-outage", fault, []int{16, 12}, needsCut, false, faultLongOutage},
		{"fault/half-open", fault, []int{21}, 0, false, faultHalfOpen},
		{"fault/partition-heal", fault, []int{12, 2}, needsCut, false, faultPartitionHeal},
		{"fault/islands", fault, []int{12}, 0, false, faultIslands},

		{"life/close-any-time", basic, []int{20}, 0, false, lifeCloseAnyTime},
		{"life/leaves-nothing", basic, []int{20}, needsResidue, true, lifeLeavesNothing},
		{"life/add-remove-state", basic, []int{20, 22}, 0, true, lifeAddRemoveState},

		{"metrics/same-names", basic, []int{22}, 0, false, metricsSameNames},
	}
}
