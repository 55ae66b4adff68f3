package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers/container"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// variable chooses what runs the servers.
const variable = "CLUSTERCHANNEL_SERVERS"

// runner is a way to run servers of a kind.
type runner struct {
	name  string
	sites func(t testing.TB, count int) []site
}

// site is where one server runs, and what runs it there. Sites that were made
// together reach each other.
type site struct {
	place Place
	start func(t testing.TB, k Kind, o Options) engine
}

// choose returns the runner for servers of kind k, as the environment says.
func choose(t testing.TB, k Kind) runner {
	t.Helper()
	choice := os.Getenv(variable)
	var r runner
	var err error
	switch choice {
	case "auto", "":
		var second error
		if r, err = inContainer(k); err != nil {
			if r, second = onMachine(k); second == nil {
				err = nil
			}
			err = errors.Join(err, second)
		}
	case "container", "required":
		r, err = inContainer(k)
	case "process":
		r, err = onMachine(k)
	default:
		t.Fatalf("servers: %s=%s: want one of auto, container, process, required", variable, choice)
	}
	switch {
	case err == nil:
	case choice == "required":
		t.Fatalf("servers: %s=%s, and there is no %s: %v", variable, choice, k.Name, err)
	default:
		t.Skipf("servers: there is no %s: %v (%s=required makes this fail)", k.Name, err, variable)
	}
	announce(k.Name + ": " + r.name)
	return r
}

// inContainer runs servers of kind k in containers.
func inContainer(k Kind) (runner, error) {
	name, err := container.Engine()
	if err != nil {
		return runner{}, err
	}
	image := k.image()
	if err := container.Obtain(image); err != nil {
		return runner{}, err
	}
	return runner{
		fmt.Sprintf("%s in containers of %s", image, name),
		func(t testing.TB, count int) []site { t.Helper(); return containers(t, k, image, count) },
	}, nil
}

// onMachine runs servers of kind k as processes of this machine.
func onMachine(k Kind) (runner, error) {
	path, err := process.Find(k.Binary)
	if err != nil {
		return runner{}, err
	}
	version, _ := exec.Command(path, "--version").Output()
	line, _, _ := strings.Cut(string(version), "\n")
	return runner{
		fmt.Sprintf("%s on this machine (%s)", path, line),
		func(t testing.TB, count int) []site { t.Helper(); return processes(t, path, count) },
	}, nil
}

// announced are the lines that announce has printed.
var announced sync.Map

// announce prints a line once per process.
func announce(line string) {
	if _, printed := announced.LoadOrStore(line, true); !printed {
		fmt.Fprintln(os.Stderr, "servers:", line)
	}
}
