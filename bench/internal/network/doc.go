// Package network makes networks of namespaces for nodes that are processes, so that one
// can be cut off from the others and from their server. It needs Linux, and root.
package network
