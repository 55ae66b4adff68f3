// Package subprocess ties a process that a program starts to that program.
package subprocess

import "syscall"

// EndWithParent makes a child process end with its parent, even if that is
// killed.
func EndWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
