// Command split measures what this project's gossip and Alertmanager's do on a
// network that parts and heals, in one run.
//
//	go run ./bench/split
//	go run ./bench/split -measure partial,join -rounds 3
//
// Each node is a process in a network namespace of its own, which needs root or
// user namespaces, ip and iptables. Alertmanager's is its cluster package, with
// its defaults; ours is the memberlist backend with its own. Both keep the same
// state, which passes on small news, as Alertmanager's states do.
//
//	partial  a and b cannot reach each other, and both reach c: until b has what a says
//	join     5 nodes start at once on one that holds 8 MiB: until all agree, and all have it
//	heal     6 and 6 nodes, each half with 8 MiB of its own, meet again: until all have all
//
// A number is the median of all rounds. Heap is the largest of any node, with what
// is not collected yet, by the size of the whole state.
package main
