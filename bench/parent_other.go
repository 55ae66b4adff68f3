//go:build !linux

package main

import "syscall"

// endWithParent returns nil: here a process cannot be tied to its parent.
func endWithParent() *syscall.SysProcAttr { return nil }
