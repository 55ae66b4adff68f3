package doctor

import "syscall"

// room returns how many bytes are free for this process on the disk of a directory.
func room(dir string) (free uint64, ok bool) {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}
