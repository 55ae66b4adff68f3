package main

import (
	"cmp"
	"os/exec"
	"path/filepath"
	"slices"
)

// system is what is measured: Alertmanager, or our application on a backend.
type system struct {
	name   string
	server []string // the program of its server with its arguments; "$IP" is its address, "$DATA" its directory
	port   string   // of the server
	args   func(n *network, i int) []string
}

var systems = []system{
	{name: "alertmanager", args: gossip},
	{name: "memberlist", args: gossip},
	{
		name: "redis", port: "6379",
		server: []string{"redis-server", "--bind", "$IP", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", "$DATA"},
		args:   broker("redis", "address", "6379"),
	},
	{
		name: "nats", port: "4222",
		server: []string{"nats-server", "--addr", "$IP", "--port", "4222"},
		args:   broker("nats", "servers", "4222"),
	},
	{
		name: "etcd", port: "2379",
		server: []string{
			"etcd", "--data-dir", "$DATA", "--listen-client-urls", "http://$IP:2379", "--advertise-client-urls", "http://$IP:2379",
			"--listen-peer-urls", "http://$IP:2380", "--initial-advertise-peer-urls", "http://$IP:2380", "--initial-cluster", "default=http://$IP:2380",
			"--log-level", "error",
		},
		args: broker("etcd", "endpoints", "2379"),
	},
}

// gossip are the flags of Alertmanager, which ours takes too.
func gossip(n *network, i int) (args []string) {
	args = []string{"--cluster.listen-address=" + n.node(i) + ":9094"}
	for j := range nodes {
		if j != i {
			args = append(args, "--cluster.peer="+n.node(j)+":9094")
		}
	}
	return args
}

func broker(backend, param, port string) func(*network, int) []string {
	return func(n *network, _ int) []string {
		return []string{"--cluster.backend=" + backend, "--cluster.name=delivery", "--cluster.param=" + param + "=" + n.server() + ":" + port}
	}
}

// start returns the command that starts node i.
func (s system) start(programs programs, n *network, i int, config, dir string) *exec.Cmd {
	args := []string{"netns", "exec", n.space(i)}
	if s.name == "alertmanager" {
		args = append(args, programs.alertmanager)
	} else {
		args = append(args, programs.ours, "alertmanager", "--cluster.peer-name="+n.space(i))
	}
	args = append(args,
		"--config.file="+config, "--storage.path="+filepath.Join(dir, n.space(i)),
		"--web.listen-address="+n.node(i)+":9093", "--log.level=debug")
	return exec.Command("ip", append(args, s.args(n, i)...)...)
}

func systemOf(name string) (system, bool) {
	i := slices.IndexFunc(systems, func(s system) bool { return s.name == name })
	return systems[max(i, 0)], i >= 0
}

// programs are paths.
type programs struct{ ours, alertmanager string }

// title is the head of a system's column.
func (s system) title() string {
	return cmp.Or(map[string]string{"alertmanager": "Alertmanager"}[s.name], s.name)
}
