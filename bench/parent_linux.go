package main

import "syscall"

// endWithParent returns attributes that end a child process together with the
// process that started it, even if that one is killed.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
