package process

import "syscall"

// EndWithParent returns attributes that end a child process together with the
// process that started it, even if that one is killed.
func EndWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
