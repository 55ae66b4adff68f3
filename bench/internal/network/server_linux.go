package network

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/program"
)

// server is a program and its arguments: "$IP" is its address, "$DATA" its directory.
type server struct {
	command []string
	port    string
}

var servers = map[string]server{
	"redis": {[]string{"redis-server", "--bind", "$IP", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", "$DATA"}, "6379"},
	"nats":  {[]string{"nats-server", "--addr", "$IP", "--port", "4222"}, "4222"},
	"etcd": {[]string{
		"etcd", "--data-dir", "$DATA", "--listen-client-urls", "http://$IP:2379", "--advertise-client-urls", "http://$IP:2379",
		"--listen-peer-urls", "http://$IP:2380", "--initial-advertise-peer-urls", "http://$IP:2380", "--initial-cluster", "default=http://$IP:2380",
		"--log-level", "error",
	}, "2379"},
}

// Address is where the server of a backend listens, or nothing if it has none.
func (n *Network) Address(backend string) string {
	s, ok := servers[backend]
	if !ok {
		return ""
	}
	return net.JoinHostPort(n.Server(), s.port)
}

// Serve starts the server of a backend that has one, as launch does, and waits until it
// listens. It stores in a directory.
func (n *Network) Serve(ctx context.Context, backend, dir string, launch func(*exec.Cmd) error) error {
	s, ok := servers[backend]
	if !ok {
		return nil
	}
	path, err := program.Find(s.command[0])
	if err != nil {
		return err
	}
	var args []string
	for _, arg := range s.command[1:] {
		args = append(args, strings.NewReplacer("$IP", n.Server(), "$DATA", dir).Replace(arg))
	}
	c := exec.Command(path, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := launch(c); err != nil {
		return err
	}
	return Within(ctx, time.Minute, func() error {
		conn, err := net.Dial("tcp", n.Address(backend))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// Within calls do until it succeeds.
func Within(ctx context.Context, d time.Duration, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
