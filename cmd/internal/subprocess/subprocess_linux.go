// Package subprocess ties a process that a program starts to that program.
package subprocess

import "syscall"

// EndWithParent lets no child process outlive a parent that was killed.
func EndWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
