package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/cmd/internal/subprocess"
)

const logKept = 16 << 10 // bytes of a node's log, for when it fails

// fleet is the demo's nodes, each a process of this program.
type fleet struct {
	demo        *demoCmd
	config      string
	cluster     string
	nodes       []*child
	peerTimeout time.Duration
}

// child is one node.
type child struct {
	name   string
	gossip string
	web    string
	cmd    *exec.Cmd
	log    *bytes.Buffer // the end of what it logged
	ended  chan struct{}
}

func newFleet(c *demoCmd, config string) (*fleet, error) {
	f := &fleet{demo: c, config: config, cluster: fmt.Sprintf("demo-%d", os.Getpid()), peerTimeout: 2 * time.Second}
	if c.Nodes > 5 {
		f.peerTimeout = time.Second
	}
	ports, err := freePorts(2 * c.Nodes)
	if err != nil {
		return nil, err
	}
	for i := range c.Nodes {
		f.nodes = append(f.nodes, &child{
			name:   fmt.Sprintf("node-%02d", i),
			gossip: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[2*i])),
			web:    net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[2*i+1])),
		})
	}
	return f, nil
}

// freePorts returns ports of loopback that are free for TCP and UDP.
func freePorts(n int) (ports []int, err error) {
	var held []io.Closer
	defer func() {
		for _, h := range held {
			err = errors.Join(err, h.Close())
		}
	}()
	for len(ports) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue // in use for UDP
		}
		held = append(held, u)
		ports = append(ports, port)
	}
	return ports, nil
}

// start starts the process of n.
func (f *fleet) start(n *child) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cluster, err := f.clusterConfig(n)
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "alertmanager", "--config.file="+f.config, "--storage.path=",
		"--web.listen-address="+n.web, "--web.external-url=http://"+n.web,
		"--cluster.config="+cluster, "--cluster.peer-timeout="+f.peerTimeout.String(), "--log.level=info")
	cmd.SysProcAttr = subprocess.EndWithParent()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	n.cmd, n.log, n.ended = cmd, new(bytes.Buffer), make(chan struct{})
	go func() {
		defer close(n.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if f.demo.Logs {
				fmt.Fprintf(os.Stderr, "%s: %s\n", n.name, lines.Text())
			}
			n.log.WriteString(lines.Text() + "\n")
			n.log.Next(max(0, n.log.Len()-logKept))
		}
		_, _ = io.Copy(io.Discard, stderr) // after a line too long to scan, so that the node does not block
		_ = n.cmd.Wait()                   // how it ended does not matter: fleet kills it
	}()
	return nil
}

// maxPeers is how many of the others are a node's peers.
const maxPeers = 5

// clusterConfig writes the file by which n joins the others, and returns its path.
func (f *fleet) clusterConfig(n *child) (string, error) {
	params := map[string]string{}
	if b, _ := backend.Lookup(f.demo.Backend); b.Mesh != nil {
		var peers []string
		for _, other := range f.nodes[:min(len(f.nodes), maxPeers)] {
			if other != n {
				peers = append(peers, other.gossip)
			}
		}
		params = b.Mesh(n.gossip, peers)
	}
	maps.Copy(params, f.demo.Param)
	text, err := yaml.Marshal(map[string]any{
		"backend": f.demo.Backend, "cluster": f.cluster, "name": n.name, f.demo.Backend: params,
		"timing": map[string]string{"settle": "1m"},
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(f.config), n.name+".yml")
	return path, os.WriteFile(path, text, 0o600)
}

// kill ends the process of n at once, without a goodbye.
func (n *child) kill() {
	_ = n.cmd.Process.Kill() // it may have ended by itself
	<-n.ended
}

func (n *child) running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// stop ends all nodes gracefully, and kills those that are late.
func (f *fleet) stop() (err error) {
	for _, n := range f.nodes {
		if n.running() {
			_ = n.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), shutDownTimeout+5*time.Second)
	defer cancel()
	for _, n := range f.nodes {
		if n.cmd == nil {
			continue
		}
		select {
		case <-n.ended:
		case <-limit.Done():
			n.kill()
			err = errors.Join(err, fmt.Errorf("%s did not end when told to", n.name))
		}
	}
	return err
}

// nodeState is the state that a node reports.
type nodeState struct {
	ready    bool
	members  int
	position int
}

var client = &http.Client{Timeout: 5 * time.Second}

func (n *child) state(ctx context.Context) (s nodeState, err error) {
	if !n.running() {
		return s, fmt.Errorf("%w: %s has ended:\n%s", errFinal, n.name, n.log.String())
	}
	if _, err := n.call(ctx, http.MethodGet, "/-/ready", nil); err != nil {
		return s, err
	}
	s.ready = true
	b, err := n.call(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ = strings.Cut(name, "{")
		switch name {
		case "alertmanager_cluster_members":
			s.members, err = strconv.Atoi(value)
		case "alertmanager_peer_position":
			s.position, err = strconv.Atoi(value)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// call calls the node's HTTP interface.
func (n *child) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.web+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s: %s: %s", n.name, method, path, resp.Status, strings.TrimSpace(string(b)))
	}
	return b, err
}
