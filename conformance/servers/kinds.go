package servers

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Kind is a kind of server: how to get it and run it.
type Kind struct {
	Name   string // "redis"; the environment variable CLUSTERCHANNEL_IMAGE_REDIS replaces Image
	Image  string // of containers, with its exact version
	Port   int    // where the server listens in a container
	Binary string // the program, by its name on this machine

	// Command is the program's name in the image; empty where the image takes bare
	// arguments.
	Command string

	// Args are the arguments of the program. Those of Options follow.
	Args func(p Place) []string

	// Env is the environment of the program. That of Options adds to it.
	Env map[string]string

	// Halt is the signal of Stop; zero means SIGKILL.
	Halt syscall.Signal

	// Script, if any, is a shell script that runs the program, which is its first
	// argument, where the server is a local process: as the entry point of the image
	// does there.
	Script string

	// Ready returns nil once the server answers its protocol.
	Ready func(ctx context.Context, addr string) error

	// Peer is where a server of a cluster listens for the others, in a container.
	Peer int

	// Join are the arguments of server self of a cluster, which follow Args. Nil
	// means that servers of the kind make no cluster.
	Join func(self int, all []Place) []string

	// Joined returns nil once the servers at addrs serve as one. Nil means that each
	// is ready no sooner.
	Joined func(ctx context.Context, addrs []string) error
}

// Place is where a server runs, as the server sees it: in a container the test
// sees other addresses.
type Place struct {
	Name string // the host by which the servers of its cluster reach it
	Peer int    // the port at which they do
	Host string // the address to listen on
	Port int    // the port to listen on
	Dir  string // the directory that holds Options.Files
	Data string // the directory to store data in
}

// expand inserts the place into text: "{host}", "{port}", "{dir}" and "{data}".
func (p Place) expand(text string) string {
	return strings.NewReplacer("{host}", p.Host, "{port}", fmt.Sprint(p.Port), "{dir}", p.Dir, "{data}", p.Data).Replace(text)
}

// image returns the image of k, as the environment says.
func (k Kind) image() string {
	if image := os.Getenv("CLUSTERCHANNEL_IMAGE_" + strings.ToUpper(k.Name)); image != "" {
		return image
	}
	return k.Image
}

// Redis is a Redis that stores its data in an append-only file, so that no
// write is lost when it is stopped, and otherwise has its default
// configuration.
func Redis() Kind {
	return Kind{
		Name: "redis", Image: "redis:7.0.15", Port: 6379, Binary: "redis-server", Command: "redis-server",
		Args: func(p Place) []string {
			return []string{
				"--port", fmt.Sprint(p.Port), "--bind", p.Host, "--protected-mode", "no", "--dir", p.Data,
				"--appendonly", "yes", "--appendfsync", "no", "--save", "",
			}
		},
		Ready: redisReady,
	}
}

// Etcd is an etcd of one member, or of several in a cluster.
func Etcd() Kind {
	return Kind{
		Name: "etcd", Image: "quay.io/coreos/etcd:v3.7.3", Port: 2379, Binary: "etcd", Command: "etcd",
		Args: func(p Place) []string {
			url := fmt.Sprintf("http://%s:%d", p.Host, p.Port)
			return []string{
				"--name", "etcd", "--data-dir", p.Data + "/etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
				"--listen-peer-urls", "http://127.0.0.1:0", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
				"--initial-cluster", "etcd=http://127.0.0.1:2380", "--logger", "zap", "--log-level", "warn",
			}
		},
		Ready: etcdReady, // which needs a leader
		Peer:  2380, Join: etcdJoin,
	}
}

// NATS is a NATS server with JetStream.
func NATS() Kind {
	return Kind{
		Name: "nats", Image: "nats:2.15.2", Port: 4222, Binary: "nats-server",
		Args: func(p Place) []string {
			return []string{"--addr", p.Host, "--port", fmt.Sprint(p.Port), "--jetstream", "--store_dir", p.Data}
		},
		Ready: natsReady,
		Peer:  6222, Join: natsJoin, Joined: natsJoined,
	}
}
