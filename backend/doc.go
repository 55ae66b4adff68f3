// Package backend gives a service a seat in a cluster. [Open] returns a
// [ClusterChannel]: it broadcasts updates of replicated states, lists the live
// members, and has a position among them. Which transport does it is one key of
// [Config]; importing a backend's package registers it.
//
// An update reaches every other live member at least once, in any order. What a
// member missed, by a lost frame, an outage or a late start, reaches it by state
// exchange. Positions are 0 to n-1, the same on all members whose views agree.
// A node that loses its cluster says so in [View].Status, keeps its last view
// for a grace period, and comes back by itself, however long that takes.
//
// Drivers of transports implement package driver; package conformance decides
// whether one is a backend.
package backend
