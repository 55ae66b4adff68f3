package process

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	ps "github.com/shirou/gopsutil/v4/process"
)

// family returns a process and all its descendants: a server may start some for
// its clients.
func family(pid int) []*ps.Process {
	root, err := ps.NewProcess(int32(pid))
	if err != nil {
		return nil
	}
	all := []*ps.Process{root}
	for i := 0; i < len(all); i++ {
		children, _ := all[i].Children() // it has none, or has ended
		all = append(all, children...)
	}
	return all
}

// gone reports whether a process has ended, even if its parent has not noticed.
func gone(p *ps.Process) bool {
	status, err := p.Status()
	return err != nil || slices.Contains(status, ps.Zombie)
}

// signalAll signals processes. One that has ended is no error.
func signalAll(all []*ps.Process, send func(*os.Process) error) error {
	for _, p := range all {
		handle, err := os.FindProcess(int(p.Pid))
		if err != nil {
			return err
		}
		err = send(handle)
		_ = handle.Release()
		if err != nil && !gone(p) {
			return err
		}
	}
	return nil
}

// until waits until all processes are as they should be.
func until(all []*ps.Process, state string, is func(*ps.Process) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	retry := time.NewTicker(time.Millisecond)
	defer retry.Stop()
	for _, p := range all {
		for !is(p) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("process %d is not %s after %v", p.Pid, state, patience)
			case <-retry.C:
			}
		}
	}
	return nil
}
