//go:build !linux

package main

import "syscall"

// endWithParent does nothing: here a process cannot be tied to its parent.
func endWithParent() *syscall.SysProcAttr { return nil }
