package conformance

import (
	"fmt"
	"strings"
)

// rules are the lines of docs/contract.md, as a failing check prints them.
var rules = map[int]string{
	1:  "reach. A payload given to Broadcast reaches every other live, attached member's State.Merge, byte for byte. Never the sender's.",
	2:  "repair. What a member missed (a dropped frame, an outage, a join after the fact) reaches it, sent again by its origin or by state exchange: on join, on re-attach, on AddState, when a gap in a member's sequence numbers is seen, and periodically. So: at least once, in any order, and Merge must be commutative, associative and idempotent. Nothing counts as repaired that was not merged; what the origin and a documented number of others cannot give is counted as lost, the search for it ends, and the periodic exchange still repairs it.",
	3:  "never in the way. Broadcast never blocks on I/O, never calls Merge on the caller's goroutine, never keeps the caller's buffer. It may be called inside Merge, under the state's own lock (Alertmanager's nflog and silences do this).",
	4:  "no silent loss. Queues are bounded in items and bytes. A drop is counted by state key and reason, and marks the state for exchange.",
	5:  "size. Any payload up to the declared limit (at least 8 MiB on every backend) arrives whole; above it: ErrTooLarge, counted. Chunking, where the transport has a smaller frame, is the portable layer's work and is bounded in memory.",
	6:  "no echo storm. A receiver that re-broadcasts the very payload it just merged (as nflog and silences do) costs no extra frame: one update in a cluster of N costs O(N) deliveries, not O(N^2). The same bytes said later than a documented moment (seconds) are a new update and reach all.",
	7:  "isolation of states. One state whose Merge or MarshalBinary errors, panics, is slow or hangs never stops nor delays another state, in updates or in exchange.",
	8:  "self at once. A channel lists itself from the moment Open returns, exactly once.",
	9:  "one view. Attached members of one cluster converge on the same list, sorted by (Name, Instance). An instance id is random per Open; two nodes with one name are two members at two positions, both told ErrNameConflict; nobody else is disturbed. Views that disagree for longer than the budgets (a one-way link, a partial partition) are noticed, and named by every node that can know of it.",
	10: "leaving is not failing. A graceful Close is seen by all within a second; a crash within the detection budget. Neither is counted as the other.",
	11: "steady. Load, a slow Merge, a large state exchange, a process that stands still for less than the detection budget, or a short outage of the broker (below grace) change no view and no position. Signals that contradict each other never make a member come and go.",
	12: "heals for ever. Nothing gives up: an unreachable broker, an empty DNS answer, a partition longer than any timeout all heal without a restart.",
	13: "no clocks compared. Liveness uses the local monotonic clock or the broker's own lease, never two machines' wall clocks.",
	14: "isolation of clusters. Two cluster names never exchange a member, a payload or a state, on one broker or one subnet, whatever the names contain; foreign traffic is rejected, counted, and named for what it is (\"cluster label mismatch\"), not \"EOF\".",
	15: "index of self. Position is the index of self in the member list of the same snapshot: 0..n-1, dense, unique when views agree. View() returns members, position, status and epoch taken together.",
	16: "never a silent 0. A node that lost the others keeps its last view for grace; then the configured policy decides: alone (availability first, the default: it becomes sole member at 0) or hold (keep the last view). Either way View().Status says Detached and since when, so that a caller which must not run twice can refuse to act.",
	17: "steady order. Joins and leaves shift positions only as the sorted order demands; message load never does.",
	18: "open. Bad configuration is an error from Open in under a second; it names the key and the valid values and never prints a secret. An unreachable broker is not an error (on_start_failure: degrade, the default; fail makes it one): the channel starts Detached and attaches when it can.",
	19: "ready. WaitReady returns when the first state exchange is merged, or when the settle limit passes, or when the node is alone; View().Status and the log say which, and name the states that are not. Ready is said of a state that was merged from, or found equal to, a ready member that has it; or that all live members lack; or, when all start at once, after a documented time. Its context ends it.",
	20: "close. Close(ctx) is idempotent, safe at any time from many goroutines, flushes what is queued, says goodbye, ends within ctx, and leaves nothing: no goroutine, file descriptor, subscription, consumer, lease or key on the broker. After it, Broadcast reports ErrClosed. Open and Close end with their context whatever the server does.",
	21: "liveness by delivery. A connection that answers pings but delivers nothing is found within the detection budget (a node hears its own frames, or a probe), reported as Detached, re-subscribed, and repaired as in C2.",
	22: "same picture. The same metric names, labels and meanings on every backend; a scrape does no I/O; series do not grow with departed names.",
	23: "cost. Every cause has a budget: a node starts a bounded number of exchanges a second and answers a bounded number of bytes, whatever it hears, and at rest there is the documented idle traffic alone. Equal states cost at most 1 KB an exchange; a difference costs what differs, where a state can be taken apart; a joiner's state crosses the transport once.",
	24: "strangers. Whatever one frame of a stranger or of a broken member says, it costs a bounded amount of bytes, memory and time, stops nobody, and is counted with a reason.",
}

// Rules returns lines of the contract by their numbers, as CheckInfo.Rule has them.
func Rules(numbers ...int) string {
	lines := make([]string, len(numbers))
	for i, n := range numbers {
		lines[i] = fmt.Sprintf("C%d %s", n, rules[n])
	}
	return strings.Join(lines, "\n")
}
