package process

import "syscall"

// EndWithParent returns what ends a child process together with the process that
// started it, even where that one is killed.
func EndWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
