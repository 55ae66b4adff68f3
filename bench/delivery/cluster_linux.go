package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/network"
)

// cluster is three nodes of a system in a network of their own.
type cluster struct {
	system   system
	programs programs
	network  *network.Network
	dir      string
	config   string
	server   *exec.Cmd
	nodes    [network.Nodes]*exec.Cmd
	logs     []*os.File
}

const formation = time.Minute // how long a cluster has to form

// form starts the server and the nodes, and waits until they know each other.
func form(ctx context.Context, s system, p programs, n *network.Network, dir, webhook string) (*cluster, error) {
	c := &cluster{system: s, programs: p, network: n, dir: dir, config: filepath.Join(dir, "alertmanager.yml")}
	config := fmt.Sprintf("route: {receiver: hook, group_by: [alertname], group_wait: %v}\nreceivers: [{name: hook, webhook_configs: [{url: %q, send_resolved: false}]}]\n", groupWait, webhook)
	err := os.WriteFile(c.config, []byte(config), 0o600)
	if err == nil {
		err = n.Serve(ctx, s.name, dir, func(cmd *exec.Cmd) error {
			c.server = cmd
			return c.launch(cmd, "server")
		})
	}
	for i := range network.Nodes {
		if err == nil {
			err = c.begin(i)
		}
		if err == nil {
			err = c.ready(ctx, i, i+1)
		}
	}
	if err == nil {
		err = c.ready(ctx, first, network.Nodes)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), c.close())
	}
	return c, nil
}

// begin starts node i.
func (c *cluster) begin(i int) error {
	c.nodes[i] = c.system.start(c.programs, c.network, i, c.config, c.dir)
	return c.launch(c.nodes[i], fmt.Sprintf("node-%d", i))
}

// launch starts a program that logs to a file of that name.
func (c *cluster) launch(cmd *exec.Cmd, name string) error {
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	c.logs = append(c.logs, log)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Start()
}

// end ends node i by a signal, and waits for it.
func (c *cluster) end(i int, s os.Signal) error {
	if err := c.nodes[i].Process.Signal(s); err != nil {
		return err
	}
	_ = c.nodes[i].Wait() // it ends by the signal
	c.nodes[i] = nil
	return nil
}

// restart ends node i as an operator does, starts it, and waits until it is
// ready among all.
func (c *cluster) restart(ctx context.Context, i int) error {
	if err := c.end(i, syscall.SIGTERM); err != nil {
		return err
	}
	if err := c.begin(i); err != nil {
		return err
	}
	return c.ready(ctx, i, network.Nodes)
}

// ready waits until node i is ready and knows that many members.
func (c *cluster) ready(ctx context.Context, i, members int) error {
	return network.Within(ctx, formation, func() error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(i)+"/api/v2/status", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if err != nil {
			return err
		}
		var answer struct {
			Cluster struct {
				Status string
				Peers  []struct{ Name string }
			}
		}
		if err := json.Unmarshal(b, &answer); err != nil {
			return fmt.Errorf("%w: %s", err, b)
		}
		if answer.Cluster.Status != "ready" || len(answer.Cluster.Peers) < members {
			return fmt.Errorf("it is %s, with %d members", answer.Cluster.Status, len(answer.Cluster.Peers))
		}
		return nil
	})
}

func (c *cluster) url(i int) string { return "http://" + net.JoinHostPort(c.network.Node(i), "9093") }

func (c *cluster) urls() (urls []string) {
	for i := range network.Nodes {
		urls = append(urls, c.url(i))
	}
	return urls
}

// close kills what runs.
func (c *cluster) close() error {
	var errs []error
	for _, cmd := range append(c.nodes[:], c.server) {
		if cmd != nil && cmd.Process != nil {
			errs = append(errs, cmd.Process.Kill())
			_ = cmd.Wait() // it was killed
		}
	}
	for _, log := range c.logs {
		errs = append(errs, log.Close())
	}
	return errors.Join(errs...)
}
