//go:build !linux

package process

import "syscall"

// EndWithParent returns nil: here a process cannot be tied to its parent.
func EndWithParent() *syscall.SysProcAttr { return nil }
