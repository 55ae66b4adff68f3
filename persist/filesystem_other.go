//go:build !linux

package persist

// sharedFileSystem knows nothing on this system.
func sharedFileSystem(string) string { return "" }

// isFull knows nothing on this system.
func isFull(string) bool { return false }
