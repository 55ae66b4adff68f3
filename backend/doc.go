// Package backend gives a service a seat in a cluster. [Open] returns a
// [ClusterChannel]: it broadcasts updates of replicated states, lists the live
// members, and has a position among them. Which transport does it is one key of
// [Config]; importing a backend's package registers it.
//
//	node, err := backend.OpenURL(ctx, "redis://localhost:6379?cluster=alerts&name=node-1")
//	if err != nil {
//		return err
//	}
//	defer node.Close(context.WithoutCancel(ctx))
//	channel, err := node.AddState("silences", silences, nil)
//	if err != nil {
//		return err
//	}
//	channel.Broadcast(update) // reaches Merge of "silences" on every other member
//	if node.View().Primary() {
//		// what one node of the cluster should do
//	}
//
// An update reaches every other live member at least once, in any order. What a
// member missed, by a lost frame, an outage or a late start, reaches it by state
// exchange. Positions are 0 to n-1, the same on all members whose views agree.
// A node that loses its cluster says so in [View].Status, keeps its last view
// for a grace period, and comes back by itself, however long that takes.
//
// Drivers of transports implement package driver; package conformance decides
// whether one is a backend.
//
// # Words
//
// These words mean one thing each, in names, comments, logs and documents:
//
//   - cluster: all nodes that share a backend and the cluster's name.
//   - node: one seat in a cluster, from Open to Close; what Open returns is this
//     node's.
//   - member: a node as nodes list it, in View.Members. This node is a member too;
//     the rest are the other members.
//   - position: the index of this node in its own View.
//   - backend: what carries a cluster and can be named in a Config, such as
//     "redis": a driver and what it says of itself.
//   - driver: what carries the frames of one node. A node opens one, and another
//     when it is lost.
//   - session: the time of one driver, from its opening to its closing.
//   - link: the connection of a node to its cluster. It is up while frames can be
//     exchanged. Attached means that the node hears and is heard.
//   - server, broker: a program that carries frames and is no member.
//   - peer: a configured address where another node may be found. It is no member
//     yet, and may never be one. Alertmanager and Grafana call their members so, and
//     their metrics' label and flags have the word.
//   - own, foreign: made by a node of this project, or by another program on the
//     same transport that may take part, as an Alertmanager among gossip members.
//   - stranger: who can reach the transport and has no part in the cluster.
//   - left, failed: a member that said goodbye, or one that fell silent.
//   - state: replicated data under a key, which every member holds whole.
//   - update: what one Broadcast sends: a part of a state.
//   - frame: the bytes that a driver carries at once. It holds updates, or a
//     message of the portable layer; a large update takes several.
//   - exchange: two members compare their states, and what one lacks is sent.
//   - gap: numbers of an origin's updates that have not arrived.
//   - origin: the member that an update is from.
//   - ready: this node's states hold what the others' held when it joined.
package backend
