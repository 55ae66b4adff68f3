// Command links measures what this project's backends and Alertmanager's gossip
// do on bad links, in one run.
//
//	go run ./bench/links
//	go run ./bench/links -conditions loss5,zones -systems Alertmanager,memberlist -for 1h
//
// Each of five nodes, and each server, is a process in a network namespace of its
// own. Between any two there is a link for each direction, which this process
// makes of TUN devices: it reads the packets of one namespace and writes them to
// another, later, less often or in another order. That needs root, /dev/net/tun,
// ip, unshare and nsenter; nothing of it reaches the host's network. Nodes of
// Redis, NATS and etcd reach their server over such links. A delay is that of one
// direction; where there is jitter, order is kept, as a queue does. What is larger
// than a link's MTU is refused, and its sender is told, as a router does.
//
// The links are measured first, by datagrams that are sent back: a run fails if
// they do not do what they should. Then
//
//   - each of the nodes in turn says 200 bytes, five times a second together, for
//     -for: how long until all have it, the median and the 99th of a hundred;
//   - how often a member was seen to go, though none did;
//   - one node is cut off for 10 s, while all go on: how long after the end of
//     that until all have what each said.
//
// A state keeps the last thousand, and passes on what is new, as Alertmanager's
// states do.
package main
