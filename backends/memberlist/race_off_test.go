//go:build !race

package memberlist

// raced says that the race detector is at work, which takes memory of its own.
const raced = false
