package main

import "syscall"

// endWithParent returns what ends a child process together with the process that
// started it, even where that one is killed.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
