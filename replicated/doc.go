// Package replicated has states that are ready for use: every node of a cluster has the
// whole of one, changes it without asking anybody, and merges what the others change.
//
//	quotas, err := replicated.NewMap[string, Quota](nil)
//	err = quotas.Attach(node, "quotas") // node is a backend.ClusterChannel
//	err = quotas.Set("alice", Quota{PerSecond: 10})
//
// A change reaches the others at once, and by the exchange of states what a node missed,
// also what was set before it was attached. All nodes come to hold the same, within the
// bounds of Options. None of this is a lock or a transaction: two nodes that change one key at once both succeed,
// and then one of the two values is there on all.
//
// # Time
//
// The last writer wins by a hybrid logical clock. What a node writes is later than all
// that it has seen of the key, whatever the clocks say; else the time of its own clock
// decides. So a wrong clock decides only between writers that did not know of each
// other's change.
//
// A time that is more than Options.MaxAhead ahead of a node's clock is merged in its
// order, which is the same for all, but is not believed: it moves the clock of that node no
// further than that, and Stats.Ahead counts it. An entry that is more than a day ahead is
// refused by ErrAhead. A node whose own clock is more than a day behind refuses what all
// others write, says so, and has it soon after its clock is right; one whose clock stands
// before the year 2000, and so was never set, goes by the time of what the others write.
// A clock that is set back is followed, but for keys that have a later time, within a day.
// What it wrote more than a day ahead stays on that node alone, until the key is written
// again by anybody.
//
// Of two entries of one time a value wins over a deletion, and else the greater bytes.
//
// # Deletions
//
// A deleted key stays deleted, though a member that was away still has its value: the
// deletion is remembered for Options.Tombstones, and for MaxAhead beyond that, since
// clocks are apart; then it is forgotten by all at the same time. A node that was away for
// longer brings back what was deleted meanwhile. So start such a node without what it had
// stored, or have Tombstones last longer than any absence. A deletion by a node whose
// clock is behind by more than both together may have no effect.
//
// An entry that is set for a time is remembered as a deletion from its end, if it took the
// place of one that would last longer, on its own node or on any that it met before it
// ended; else it leaves nothing behind: what all members forget by themselves cannot come
// back. One that met nobody who has an older value that lasts longer is, after its end, as
// if it had never been. So set for a time what comes and goes, and let it end: else the
// deletions of a day take up the room that Options.MaxEntries has.
//
// # Bounds
//
// Options.MaxEntries and MaxBytes must be the same on all nodes. A cluster that was in two
// parts becomes equal, though both were full: then there is twice as much, and each write
// of another key is ErrFull until as much was deleted and forgotten, or has ended. Three
// parts that were full together hold more than any node merges: they stay unequal. Each
// node refuses what it has no room for, counts it by Stats.Refused, and is offered what the
// others hold again after growing pauses; so they become equal once there is room, by what
// ends and what is forgotten, or by nodes that are started with larger bounds. What it
// refused is not kept for it: what was deleted meanwhile does not come back so. But a node
// that has no room for a value that is set for a time, in place of a smaller one, keeps that;
// it comes back to all if there is no room until the later one has ended and is forgotten.
// Bounds that are three times what the cluster needs avoid all this.
//
// # Bad input
//
// What another member says is merged entry by entry: one that is malformed, of another
// type or a later version, too far ahead, or that finds no room is refused, and counted by
// Stats.Refused and by the metrics of the node, which logs the reason. All others are merged.
//
// # Metrics
//
//	clusterchannel_replicated_entries          keys that have a value
//	clusterchannel_replicated_tombstones       deletions that are remembered, and expired entries that are
//	clusterchannel_replicated_bytes            encoded keys and values, which Options.MaxBytes bounds
//	clusterchannel_replicated_full_ratio       how much of MaxEntries or of MaxBytes is used, the greater: from 1 on writes are ErrFull
//	clusterchannel_replicated_ahead_total      entries whose clock was more than MaxAhead ahead: merged, and not believed
//	clusterchannel_replicated_refused_total    entries that were not merged, by reason
//
// They have the labels cluster_name and key, which is that of Attach. A reason is malformed,
// version, type, ahead, full or codec.
//
// # Persistence
//
// All types are a backend.State, which package persist can keep: attach them to what
// persist.Store.Keeping returns for a node.
package replicated
