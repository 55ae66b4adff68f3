package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/peer"
)

// subnet is that of every network: none is the host's.
const subnet = "198.18.100."

// network is some hosts with links between them.
type network struct {
	ctx   context.Context
	wires *wires
	hosts []*host
}

// host is a process in a namespace of its own.
type host struct {
	ip   string
	port *port
	cmd  *exec.Cmd
	in   io.WriteCloser
	to   *json.Encoder
	from *json.Decoder
}

func build(ctx context.Context, between func(from, to int) condition) *network {
	return &network{ctx: ctx, wires: newWires(between)}
}

// node adds a host that takes orders.
func (n *network) node() (*host, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h, err := n.host(program)
	if err == nil {
		_, err = h.call(order{}) // it runs
	}
	return h, err
}

// host adds a host that runs a program as soon as its device is there.
func (n *network) host(args ...string) (*host, error) {
	h := &host{ip: fmt.Sprint(subnet, len(n.hosts)+1)}
	var err error
	if h.port, err = n.wires.add(netip.MustParseAddr(h.ip)); err != nil {
		return nil, err
	}
	h.cmd = exec.Command("unshare", append([]string{"-n", "sh", "-c", `echo 1; read go; exec "$@"`, "sh"}, args...)...)
	h.cmd.Env = append(os.Environ(), nodeVariable+"=1")
	h.cmd.SysProcAttr, h.cmd.Stderr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}, os.Stderr
	var out io.Reader
	var oerr error
	h.in, err = h.cmd.StdinPipe()
	out, oerr = h.cmd.StdoutPipe()
	if err = errors.Join(err, oerr); err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	n.hosts = append(n.hosts, h)
	h.to, h.from = json.NewEncoder(h.in), json.NewDecoder(out)
	var made int
	if err := h.from.Decode(&made); err != nil {
		return nil, fmt.Errorf("a network namespace cannot be made: %w", err)
	}
	pid := fmt.Sprint(h.cmd.Process.Pid)
	for _, line := range [][]string{
		{"ip", "link", "set", h.port.device, "netns", pid},
		{"nsenter", "-n", "-t", pid, "ip", "link", "set", "lo", "up"},
		{"nsenter", "-n", "-t", pid, "ip", "link", "set", h.port.device, "name", "eth0"},
		{"nsenter", "-n", "-t", pid, "ip", "addr", "add", h.ip + "/24", "dev", "eth0"},
		{"nsenter", "-n", "-t", pid, "ip", "link", "set", "eth0", "up"},
	} {
		if out, err := exec.CommandContext(n.ctx, line[0], line[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w: %s", line, err, out)
		}
	}
	_, err = io.WriteString(h.in, "go\n")
	return h, err
}

func (n *network) remove() error {
	for _, h := range n.hosts {
		_ = h.cmd.Process.Kill() // it may have ended
		_ = h.cmd.Wait()
	}
	return n.wires.close()
}

func (h *host) call(o order) (report, error) { return peer.Call[report](h.to, h.from, o) }

// until waits until done, for at most limit, and says whether it was.
func (n *network) until(limit time.Duration, done func() (bool, error)) (bool, error) {
	tick := time.NewTicker(20 * ms)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if ok, err := done(); ok || err != nil {
			return ok, err
		}
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return false, n.ctx.Err()
		}
	}
	return false, nil
}
