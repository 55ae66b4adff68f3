//go:build !linux

package process

import (
	"slices"

	ps "github.com/shirou/gopsutil/v4/process"
)

// frozen reports whether a process has stopped, which is some time after the
// signal.
func frozen(p *ps.Process) bool {
	status, err := p.Status()
	return err != nil || slices.Contains(status, ps.Stop) || slices.Contains(status, ps.Zombie)
}
