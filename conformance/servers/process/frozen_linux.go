package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	ps "github.com/shirou/gopsutil/v4/process"
)

// frozen reports whether all threads of a process have stopped, which is some
// time after the signal.
func frozen(p *ps.Process) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid))
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		if !strings.HasPrefix(state, "T") && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X") {
			return false
		}
	}
	return true
}
