// Command delivery counts what a receiver gets while faults happen: of three
// nodes of this project's application on each backend, and of three real
// Alertmanagers, in one run.
//
//	go run ./bench/delivery
//	go run ./bench/delivery -faults restart,kill -systems alertmanager,redis -rounds 5
//
// Each cluster has a network of its own, made of namespaces, so that a node can
// be cut off from the others and from the server while alerts still reach it,
// and it the receiver. So the command needs root. Five alerts a second, each a
// group of its own, are sent to all nodes, as Prometheus does, and again each
// minute. A group waits for 20 s; all else is as by default. The nodes start in
// the order of their positions; a fault hits the first, a cut the second.
//
// For each fault and cluster the table has three numbers: duplicates, alerts
// that were never sent, and the delay of the latest: how long after the end of
// its group's wait the receiver had it. A number is the median of all rounds.
// What each alert met is written to -raw.
package main
