package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/program"
)

// endpoint is a running server.
type endpoint struct {
	Addr    string // empty: there is none
	Monitor string // URL of a page with the server's counters, if it has one
	PID     int    // 0: it was started by somebody else
}

// serverKind is how to run a server and to read its counters.
type serverKind struct {
	binary  string
	args    func(host, port, monitor, data string) []string
	monitor string // the page with the server's counters; "%s" is its host:port
	onOwn   bool   // that page has its own port
	usage   func(context.Context, endpoint) (usage, error)
	version func(context.Context, endpoint) (string, error)
}

// servers are the kinds by backend.
var servers = map[string]serverKind{"redis": redisServer, "nats": natsServer, "etcd": etcdServer}

const startPatience = 30 * time.Second

// startServer starts a server on this machine. The function that it returns
// ends the server and deletes what it stored.
func startServer(ctx context.Context, k serverKind) (endpoint, func(), error) {
	path, err := program.Find(k.binary)
	if err != nil {
		return endpoint{}, nil, fmt.Errorf("%w; install it, or give -address of a running one", err)
	}
	data, err := os.MkdirTemp("", "clusterchannel-bench-")
	if err != nil {
		return endpoint{}, nil, err
	}
	e, cmd, err := k.start(path, data)
	stop := func() {
		if cmd != nil {
			end(cmd)
		}
		if err := os.RemoveAll(data); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	if err == nil {
		err = k.ready(ctx, e)
	}
	if err != nil {
		stop()
		return endpoint{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, stop, nil
}

func (k serverKind) start(path, data string) (endpoint, *exec.Cmd, error) {
	addr, err := freeAddress()
	if err != nil {
		return endpoint{}, nil, err
	}
	monitor, err := freeAddress()
	if err != nil {
		return endpoint{}, nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return endpoint{}, nil, err
	}
	_, monitorPort, err := net.SplitHostPort(monitor)
	if err != nil {
		return endpoint{}, nil, err
	}
	cmd := exec.Command(path, k.args(host, port, monitorPort, data)...)
	cmd.SysProcAttr = endWithParent()
	if err := cmd.Start(); err != nil {
		return endpoint{}, nil, err
	}
	if !k.onOwn {
		monitor = addr
	}
	return endpoint{Addr: addr, Monitor: fmt.Sprintf(k.monitor, monitor), PID: cmd.Process.Pid}, cmd, nil
}

// ready waits until the server answers.
func (k serverKind) ready(ctx context.Context, e endpoint) error {
	var err error
	answers := func() bool {
		var conn net.Conn
		if conn, err = net.Dial("tcp", e.Addr); err == nil {
			_ = conn.Close() // it was for the answer alone
			_, err = k.version(ctx, e)
		}
		return err == nil || ctx.Err() != nil
	}
	if !await(startPatience, answers) || ctx.Err() != nil {
		return fmt.Errorf("does not answer: %w", errors.Join(err, ctx.Err()))
	}
	return nil
}

// freeAddress returns a loopback address that is free for TCP and UDP.
func freeAddress() (string, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := l.Addr().String()
		u, err := net.ListenPacket("udp", addr)
		if cerr := l.Close(); cerr != nil {
			return "", cerr
		}
		if err == nil {
			return addr, u.Close()
		}
	}
}

// float reads a number of a server's monitoring.
func float(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("a counter of the server: %w", err)
	}
	return v, nil
}
