package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/network"
)

// node is a process.
type node struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{} // its output
	err   error         // of that

	mu   sync.Mutex
	said map[string][]report
}

// start starts a node, whose output is read until it ends.
func start(space string, t task) (*node, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	n := &node{cmd: exec.Command("ip", "netns", "exec", space, self), ended: make(chan struct{}), said: map[string][]report{}}
	n.cmd.Env = append(os.Environ(), nodeVariable+"="+string(b))
	n.cmd.Stderr = os.Stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := n.cmd.StdinPipe()
	out, oerr := n.cmd.StdoutPipe()
	if err = errors.Join(err, oerr); err != nil {
		return nil, err
	}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	n.in = in
	go n.read(out)
	return n, nil
}

func (n *node) read(out io.Reader) {
	defer close(n.ended)
	for lines := json.NewDecoder(out); ; {
		var r report
		if n.err = lines.Decode(&r); n.err != nil {
			return
		}
		n.mu.Lock()
		n.said[r.Is] = append(n.said[r.Is], r)
		n.mu.Unlock()
	}
}

// of returns what a node has said of a kind.
func (n *node) of(is string) []report {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.said[is]
}

// says waits until a node has said something.
func (n *node) says(ctx context.Context, is string) error {
	err := network.Within(ctx, 3*time.Minute, func() error {
		if len(n.of(is)) == 0 {
			return fmt.Errorf("a node is not %s", is)
		}
		return nil
	})
	return err
}

// kill ends a node, if it has not ended.
func (n *node) kill() {
	_ = n.cmd.Process.Kill() // it may have ended
	<-n.ended
	_ = n.cmd.Wait() // it was killed
}

// paramsOf are the parameters of a node.
func paramsOf(backend string, n *network.Network, i int) map[string]string {
	switch backend {
	case "redis":
		return map[string]string{"address": n.Address(backend)}
	case "nats":
		return map[string]string{"servers": n.Address(backend)}
	case "etcd":
		return map[string]string{"endpoints": n.Address(backend)}
	}
	var peers []string
	for other := range network.Nodes {
		peers = append(peers, n.Node(other)+":9094")
	}
	return map[string]string{"listen_address": n.Node(i) + ":9094", "peers": strings.Join(peers, ",")}
}

// measure has three nodes do the keys, while a fault happens to one.
func measure(ctx context.Context, backend string, f fault, keys int) (found outcome, err error) {
	dir, err := os.MkdirTemp("", "clusterchannel-once-")
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	net, err := network.Build(ctx, 0, os.Getpid())
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, net.Remove()) }()
	var server *exec.Cmd
	defer func() {
		if server != nil && server.Process != nil {
			err = errors.Join(err, server.Process.Kill())
			_ = server.Wait() // it was killed
		}
	}()
	if err := net.Serve(ctx, backend, dir, func(c *exec.Cmd) error { server = c; return c.Start() }); err != nil {
		return found, err
	}
	var all []*node
	defer func() {
		for _, n := range all {
			n.kill()
		}
	}()
	for i := range network.Nodes {
		n, err := start(net.Space(i), task{Backend: backend, Name: fmt.Sprint("node-", i+1), Params: paramsOf(backend, net, i), Keys: keys})
		if err != nil {
			return found, err
		}
		all = append(all, n)
	}
	for _, n := range all {
		if err := n.says(ctx, isReady); err != nil {
			return found, err
		}
	}
	begin := time.Now().Add(time.Second)
	for _, n := range all {
		if err := json.NewEncoder(n.in).Encode(begin); err != nil {
			return found, err
		}
	}
	pause(time.Until(begin.Add(time.Duration(keys) * every / 3)))
	if err := f.happen(ctx, net, all[0]); err != nil {
		return found, err
	}
	live := all
	if f.deadly {
		live = all[1:]
	}
	return judge(ctx, all, live, keys)
}

// judge waits for the nodes that live, and until what they know of each other is counted.
func judge(ctx context.Context, all, live []*node, keys int) (found outcome, err error) {
	for _, n := range live {
		if err := n.says(ctx, isIdle); err != nil {
			return found, err
		}
	}
	pause(settling)
	for _, n := range live {
		if err := n.in.Close(); err != nil {
			return found, err
		}
		<-n.ended
		for _, r := range n.of(isCounted) {
			found.counted += int(r.Count)
		}
	}
	done := make([]int, keys)
	windows := map[int]time.Duration{}
	for _, n := range all {
		for _, r := range n.of(isDone) {
			done[r.Key]++
		}
		for _, r := range n.of(isKnown) {
			windows[r.Key] = max(windows[r.Key], r.Window)
		}
		for _, r := range n.of(isFailed) {
			err = errors.Join(err, fmt.Errorf("key %d: %s", r.Key, r.Err))
		}
	}
	for _, times := range done {
		if times == 0 {
			found.never++
		}
		found.twice += max(times-1, 0)
	}
	for _, w := range windows {
		found.windows = append(found.windows, w)
	}
	return found, err
}
