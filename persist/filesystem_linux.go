package persist

import (
	"path/filepath"
	"syscall"
)

// sharedFileSystem names the kind of a file system that may be mounted on
// several hosts, or that leaves locks to a program: SQLite's locks may not hold
// there. It is empty for others, and if the kind is unknown.
func sharedFileSystem(path string) string {
	var s syscall.Statfs_t
	if syscall.Statfs(filepath.Dir(path), &s) != nil {
		return ""
	}
	return map[uint32]string{
		0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB", 0x65735546: "FUSE", 0x01021997: "9p",
		0x00c36400: "Ceph", 0x0bd00bd0: "Lustre", 0x47504653: "GPFS", 0x5346414f: "AFS", 0x19830326: "BeeGFS",
	}[uint32(s.Type)]
}

// isFull reports whether the disk of path has no room for another page.
func isFull(path string) bool {
	var s syscall.Statfs_t
	return syscall.Statfs(filepath.Dir(path), &s) == nil && s.Bavail*uint64(s.Bsize) < 64<<10
}
