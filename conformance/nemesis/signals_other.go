//go:build !unix

package nemesis

import "os"

// canStop reports whether a process can stand still here.
const canStop = false

func stop(*os.Process) {}
func goOn(*os.Process) {}
