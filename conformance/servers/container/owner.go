package container

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/shirou/gopsutil/v4/process"
)

// Label is on every container and network of this package. Its value says which
// process they belong to.
const Label = "com.github.clusterchannel.owner"

// drift is how far apart, in milliseconds, two readings of a process's start
// may be: the system counts from its boot, in ticks.
const drift = 2000

// owner is a process that has containers.
type owner struct {
	host    string // and its namespace of processes
	pid     int32
	started int64 // milliseconds since the epoch; 0 is unknown
}

// self is this process.
var self = sync.OnceValue(func() owner {
	o := owner{host: here(), pid: int32(os.Getpid())}
	o.started, _ = startOf(o.pid)
	return o
})

// here names the scope of process ids: this machine, and on Linux the namespace
// of processes, which a container has for itself.
func here() string {
	name, _ := os.Hostname()
	namespace, _ := os.Readlink("/proc/self/ns/pid")
	return name + namespace
}

func startOf(pid int32) (int64, error) {
	p, err := process.NewProcess(pid)
	if err != nil {
		return 0, err
	}
	return p.CreateTime()
}

func (o owner) String() string { return fmt.Sprintf("%d %d %s", o.pid, o.started, o.host) }

// parseOwner is the inverse of String.
func parseOwner(label string) (owner, error) {
	var o owner
	pid, rest, _ := strings.Cut(label, " ")
	started, host, ok := strings.Cut(rest, " ")
	if !ok {
		return o, fmt.Errorf("%q names no process", label)
	}
	o.host = host
	_, err := fmt.Sscan(pid+" "+started, &o.pid, &o.started)
	return o, err
}

// dead reports whether o is a process of this machine that has ended. For a
// process elsewhere that shares the engine this is unknown.
func (o owner) dead() bool {
	if o.host != here() {
		return false
	}
	p, err := process.NewProcess(o.pid)
	if err != nil {
		return errors.Is(err, process.ErrorProcessNotRunning)
	}
	if status, err := p.Status(); err == nil && slices.Contains(status, process.Zombie) {
		return true
	}
	started, err := p.CreateTime()
	return err == nil && o.started != 0 && (started < o.started-drift || started > o.started+drift)
}
