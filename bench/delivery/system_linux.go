package main

import (
	"cmp"
	"os/exec"
	"path/filepath"

	"github.com/clusterchannel/clusterchannel/bench/internal/network"
)

// system is what is measured: Alertmanager, or our application on a backend.
type system struct {
	name string
	args func(n *network.Network, i int) []string
}

var systems = []system{
	{name: "alertmanager", args: gossip},
	{name: "memberlist", args: gossip},
	{name: "redis", args: broker("redis", "address")},
	{name: "nats", args: broker("nats", "servers")},
	{name: "etcd", args: broker("etcd", "endpoints")},
}

// gossip are the flags of Alertmanager, which ours takes too.
func gossip(n *network.Network, i int) (args []string) {
	args = []string{"--cluster.listen-address=" + n.Node(i) + ":9094"}
	for j := range network.Nodes {
		if j != i {
			args = append(args, "--cluster.peer="+n.Node(j)+":9094")
		}
	}
	return args
}

func broker(backend, param string) func(*network.Network, int) []string {
	return func(n *network.Network, _ int) []string {
		return []string{"--cluster.backend=" + backend, "--cluster.name=delivery", "--cluster.param=" + param + "=" + n.Address(backend)}
	}
}

// start returns the command that starts node i.
func (s system) start(programs programs, n *network.Network, i int, config, dir string) *exec.Cmd {
	args := []string{"netns", "exec", n.Space(i)}
	if s.name == "alertmanager" {
		args = append(args, programs.alertmanager)
	} else {
		args = append(args, programs.ours, "alertmanager", "--cluster.peer-name="+n.Space(i))
	}
	args = append(args,
		"--config.file="+config, "--storage.path="+filepath.Join(dir, n.Space(i)),
		"--web.listen-address="+n.Node(i)+":9093", "--log.level=debug")
	return exec.Command("ip", append(args, s.args(n, i)...)...)
}

// programs are paths.
type programs struct{ ours, alertmanager string }

// title is the head of a system's column.
func (s system) title() string {
	return cmp.Or(map[string]string{"alertmanager": "Alertmanager"}[s.name], s.name)
}
