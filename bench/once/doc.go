// Command once measures the window in which two nodes may do work that is to be done
// once, and counts how often they do, while all is well and while faults happen.
//
//	go run ./bench/once
//	go run ./bench/once -backends redis,nats -faults none,kill -keys 1000
//
// Three nodes, each a process in a network namespace of its own, so that one can be
// killed, stopped and cut off; so the command needs root. All call Do for a key at the same
// moment, 50 keys a second, each with work of 100 ms; the options of the groups are the
// defaults. A fault hits one node after a third of the keys, while it works.
//
// The window is from the end of the work on one node until the call of the last of
// the others has its result.
package main
