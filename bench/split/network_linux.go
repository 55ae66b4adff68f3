package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/peer"
)

// network is a switch in a namespace of its own, with hosts behind it.
type network struct {
	ctx    context.Context
	bridge *exec.Cmd
	all    []*host
}

// host is a node's process, in a namespace of its own.
type host struct {
	network *network
	id      int
	ip      string
	cmd     *exec.Cmd
	to      *json.Encoder
	from    *json.Decoder
}

const (
	subnet    = "198.18.78."
	recordsOf = 64 // of a half's state
)

func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// build makes the network.
func build(ctx context.Context) (*network, error) {
	n := &network{ctx: ctx}
	n.bridge = exec.Command("unshare", "-n", "sh", "-c", "ip link add lan type bridge && ip link set lan up && echo made && exec sleep 3000")
	n.bridge.SysProcAttr = endWithParent()
	out, err := n.bridge.StdoutPipe()
	if err == nil {
		err = n.bridge.Start()
	}
	if err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "made\n" {
		n.remove()
		return nil, fmt.Errorf("a network namespace with a bridge cannot be made: %w", err)
	}
	return n, nil
}

func (n *network) remove() {
	for _, h := range n.all {
		end(h.cmd)
	}
	end(n.bridge)
}

func end(c *exec.Cmd) {
	_ = c.Process.Kill() // it may have ended
	_ = c.Wait()
}

// in runs a shell's line in the namespace of a process.
func (n *network) in(c *exec.Cmd, line string) error {
	out, err := exec.CommandContext(n.ctx, "nsenter", "-n", "-t", fmt.Sprint(c.Process.Pid), "sh", "-e", "-c", line).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}

// hosts starts that many.
func (n *network) hosts(count int) ([]*host, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for id := 1; id <= count; id++ {
		h := &host{network: n, id: id, ip: fmt.Sprint(subnet, id)}
		h.cmd = exec.Command("nsenter", "-n", "-t", fmt.Sprint(n.bridge.Process.Pid), "unshare", "-n", program)
		h.cmd.Env = append(os.Environ(), nodeVariable+"=1")
		h.cmd.SysProcAttr, h.cmd.Stderr = endWithParent(), os.Stderr
		in, err := h.cmd.StdinPipe()
		out, oerr := h.cmd.StdoutPipe()
		if err = errors.Join(err, oerr); err != nil {
			return nil, err
		}
		if err := h.cmd.Start(); err != nil {
			return nil, err
		}
		n.all = append(n.all, h)
		h.to, h.from = json.NewEncoder(in), json.NewDecoder(out)
		if _, err := h.call(order{}); err != nil { // it runs, in its namespace
			return nil, err
		}
		err = n.in(n.bridge, fmt.Sprintf("ip link add h%d type veth peer name eth0 netns %d; ip link set h%[1]d master lan up", id, h.cmd.Process.Pid))
		if err == nil {
			err = n.in(h.cmd, fmt.Sprintf("ip link set lo up; ip addr add %s/24 dev eth0; ip link set eth0 up", h.ip))
		}
		if err == nil { // until the switch forwards, which may take it a second, what is sent is lost
			err = n.in(n.bridge, fmt.Sprintf("until ip -d link show h%d | grep -q 'state forwarding'; do sleep 0.01; done", id))
		}
		if err != nil {
			return nil, err
		}
	}
	return n.all, nil
}

// cluster opens that many nodes, which know each other, and waits until they agree.
func (n *network) cluster(system string, count int) ([]*host, error) {
	all, err := n.hosts(count)
	if err != nil {
		return nil, err
	}
	for _, h := range all {
		if err := h.open(system, all); err != nil {
			return nil, err
		}
	}
	return all, n.wait(func() (bool, error) {
		members, _, err := least(all)
		return members == count, err
	})
}

// wait waits until done, or for the limit.
func (n *network) wait(done func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return n.ctx.Err()
		}
	}
	return nil
}

func (h *host) call(o order) (report, error) { return peer.Call[report](h.to, h.from, o) }

func (h *host) open(system string, peers []*host) error {
	o := order{Do: "open", System: system, Name: fmt.Sprintf("node-%02d", h.id), Listen: h.ip + ":9094"}
	for _, p := range peers {
		o.Peers = append(o.Peers, p.ip+":9094")
	}
	_, err := h.call(o)
	return err
}

// fill gives the node a half's state, without saying so.
func (h *host) fill(number uint64) error {
	for i := range uint64(recordsOf) {
		if _, err := h.call(order{Do: "put", ID: 1000 + number*recordsOf + i, Size: half / recordsOf}); err != nil {
			return err
		}
	}
	return nil
}

// cut parts a host from others, and uncut undoes it.
func (h *host) cut(others ...*host) error {
	var rules []string
	for _, o := range others {
		rules = append(rules, "iptables -w -A INPUT -s "+o.ip+" -j DROP", "iptables -w -A OUTPUT -d "+o.ip+" -j DROP")
	}
	return h.network.in(h.cmd, strings.Join(rules, "; "))
}

func (h *host) uncut() error { return h.network.in(h.cmd, "iptables -w -F") }
