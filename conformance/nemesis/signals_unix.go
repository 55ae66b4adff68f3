//go:build unix

package nemesis

import (
	"os"
	"syscall"
)

// canStop reports whether a process can stand still here.
const canStop = true

func stop(p *os.Process) { _ = p.Signal(syscall.SIGSTOP) } // it fails only if the process has ended
func goOn(p *os.Process) { _ = p.Signal(syscall.SIGCONT) }
