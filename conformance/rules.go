package conformance

import (
	"fmt"
	"strings"
)

// rules are the lines of the contract, as a failing check prints them.
var rules = map[int]string{
	1:  "reach. A payload given to Broadcast reaches every other live, attached member's State.Merge, byte for byte. Never the sender's.",
	2:  "repair. What a member missed reaches it by state exchange: on join, on re-attach, on AddState, when a gap in a member's sequence numbers is seen, and periodically.",
	3:  "never in the way. Broadcast never blocks on I/O, never calls Merge on the caller's goroutine, never keeps the caller's buffer. It may be called inside Merge, under the state's own lock.",
	4:  "no silent loss. Queues are bounded in items and bytes. A drop is counted, and repaired by exchange.",
	5:  "size. Any payload up to the declared limit, at least 8 MiB, arrives whole; above it: ErrTooLarge, counted.",
	6:  "no echo storm. A receiver that re-broadcasts the very payload it just merged costs no extra frame.",
	7:  "isolation of states. One state whose Merge or MarshalBinary errors or panics never stops another state, in updates or in exchange.",
	8:  "self at once. A channel lists itself from the moment Open returns, exactly once.",
	9:  "one view. Attached members of one cluster converge on the same list, sorted by (Name, Instance). Two nodes with one name are two members at two positions, both told ErrNameConflict; nobody else is disturbed.",
	10: "leaving is not failing. A graceful Close is seen by all within a second; a crash within the detection budget. Neither is counted as the other.",
	11: "steady. Load, a slow Merge, a large state exchange, or a short outage of the broker change no view and no position.",
	12: "heals for ever. Nothing gives up: an unreachable broker, an empty DNS answer, a partition longer than any timeout all heal without a restart.",
	13: "no clocks compared. Liveness uses the local monotonic clock or the broker's own lease, never two machines' wall clocks.",
	14: "isolation of clusters. Two cluster names never exchange a member, a payload or a state, whatever the names contain; foreign traffic is rejected and counted.",
	15: "index of self. Position is the index of self in the member list of the same snapshot: 0..n-1, dense, unique when views agree.",
	16: "never a silent 0. A node that lost the others keeps its last view for grace; then the configured policy decides. View().Status says Detached, and since when.",
	17: "steady order. Joins and leaves shift positions only as the sorted order demands; message load never does.",
	18: "open. Bad configuration is an error from Open in under a second; it names the key and the valid values and never prints a secret. An unreachable broker is not an error: the channel starts Detached and attaches when it can.",
	19: "ready. WaitReady returns when the first state exchange is merged, or when the settle limit passes, or when the node is alone. Its context ends it.",
	20: "close. Close is idempotent, safe at any time from many goroutines, flushes what is queued, says goodbye, ends within its context, and leaves nothing. After it, TryBroadcast reports ErrClosed.",
	21: "liveness by delivery. A connection that answers pings but delivers nothing is found within the detection budget, reported as Detached, re-subscribed, and repaired.",
	22: "same picture. The same metric names, labels and meanings on every backend; a scrape does no I/O; series do not grow with departed names.",
}

func ruleText(numbers []int) string {
	lines := make([]string, len(numbers))
	for i, n := range numbers {
		lines[i] = fmt.Sprintf("C%d %s", n, rules[n])
	}
	return strings.Join(lines, "\n")
}
