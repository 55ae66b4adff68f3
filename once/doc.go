// Package once has the nodes of a cluster do a piece of work once; it is no lock and no
// consensus: under a fault two nodes may do it, and what must never be done twice needs
// a lock service, or work that is idempotent.
//
//	jobs, err := once.New(node, nil) // node is a backend.ClusterChannel
//	...
//	report, err := jobs.Do(ctx, "report/2026-12-01", send) // on every node
//
// The nodes take their turns, in an order that differs from key to key, so that the
// work spreads over them. Each one looks whether another has done it, tells that it
// begins, does it, and tells that it is done. All who call [Group.Do] get the result,
// those too who call later. The key names the occasion: what is done each day needs a
// key for each day, and is forgotten after Options.Life.
//
// [Owned] is for what a node does all the time rather than at some moment: it says which
// of many keys are this node's, and what changes hands.
//
// # How often
//
// Exactly once while all is well, whichever nodes call, and however late. At least once
// under every fault, as long as a node that calls Do lives and its work succeeds:
//
//   - A node that crashes or leaves before it tells that it is done is not waited for
//     once the members see that; the next in order does the work. One whose Group alone
//     was closed, by a context that ended before its work did, is waited for as below.
//   - Work that fails or panics is done by the next in order, at once. A node that has
//     failed goes behind those that have not, so that one which calls Do again and again
//     does not keep the others from their turns.
//   - A node that works is waited for while it is a member, up to Options.Limit and one
//     Turn.
//   - A node that is detached waits, until it is back and has what was told meanwhile, or
//     until it is isolated: then it acts by itself. So does one that is alone.
//   - A node that stood still learns that before its turn comes, and is detached until
//     it has what was told meanwhile.
//   - A node that joins, or starts again, has what the others know before its turn, and
//     one that has just met a member waits for a second, for what that may know. If all
//     nodes stop, results are lost, unless the state is kept: see package persist.
//
// # When two may act
//
// Each such window is from the moment at which one node begins, or ends, until the others
// know of it:
//
//   - A message is on its way: two nodes act if the turn of the second comes while it is,
//     which can only be where the first called Do later than the second, by just its
//     turns. On one Redis on loopback another node has a result after 0.2 ms, and after
//     2 ms in 99 of 100 calls; of 50 keys for which the first called at just that moment
//     36 were done twice, 5 ms before or after it none.
//   - A node is cut off and does not know it yet, for some three seconds, in which the
//     others drop it.
//   - The nodes do not hear each other: until the partition, or the outage beyond grace,
//     is over. Each side acts once. So do nodes that start and find nobody. What a node
//     did and could not tell before it was closed is done again: Close says so.
//   - A node crashes after its work and before that is told, or stands still in the
//     middle of it for so long that the others drop it: forever, or until it goes on.
//   - Work takes longer than Limit, and does not end with its context.
//   - There is no room to tell it: see Options.MaxKeys. Do says so.
//   - Clocks are apart by more than an hour, or a quarter of Life if that is less: a node
//     whose clock is so far ahead does not see that another one acts, and has its turn while
//     work takes longer than that. If by more than Life it does not see results either, and
//     if by more than a day, one does not hear the other.
//
// Each time that two nodes have acted is counted by clusterchannel_once_doubled_total,
// on one of them, once they know of each other. Two sides of a partition that both
// acted then know one result, the later one. How long it takes on each backend until all
// know, and how often two act while nodes die, stand still and are cut off, is in
// docs/numbers.md.
//
// Alertmanager sends its notifications in this way: instances take their turns, by
// position, and look into the notification log before they send. This package has its
// turns from the same [backend.Turn], and tells also that work begins and that it
// failed, so that slow work is waited for and failed work is not.
//
// # Metrics
//
//	clusterchannel_once_calls_total      calls of Do, by outcome: here, elsewhere, failed, ended
//	clusterchannel_once_acting           work that this node does at the moment
//	clusterchannel_once_doubled_total    work of this node that another one has done too
//	clusterchannel_once_untold_total     work that was done and could not be told to the others
//	clusterchannel_once_window_seconds   from the end of another node's work until this node knew of it
//
// They have the labels cluster_name and key, which is Options.Key.
package once
