//go:build !linux

package subprocess

import "syscall"

// EndWithParent does nothing: here a process cannot be tied to its parent.
func EndWithParent() *syscall.SysProcAttr { return nil }
