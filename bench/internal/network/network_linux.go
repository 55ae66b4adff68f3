package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
)

// Network is a switch with three nodes behind it, each in a namespace of its
// own. The host has two addresses there: one of the client and the receiver,
// and one of the server, which a node can be cut off from by itself.
type Network struct {
	prefix string     // of the names of namespaces and links
	subnet string     // "198.19.200."
	made   [][]string // the commands that undo what was made, the last first
}

// Nodes is how many there are.
const Nodes = 3

// Host is the address of the client, which no node is cut off from.
func (n *Network) Host() string { return n.subnet + "1" }

// Server is the address for the server.
func (n *Network) Server() string { return n.subnet + "2" }

// Node is the address of node i.
func (n *Network) Node(i int) string { return fmt.Sprintf("%s%d", n.subnet, 11+i) }

// Space is the name of the namespace of node i.
func (n *Network) Space(i int) string {
	return fmt.Sprintf("%sn%d", n.prefix, i)
}

// Build makes the network with the given number, below 50.
func Build(ctx context.Context, number, pid int) (*Network, error) {
	n := &Network{prefix: fmt.Sprintf("cc%d-%d", pid, number), subnet: fmt.Sprintf("198.19.%d.", 200+number)}
	if err := n.free(); err != nil {
		return nil, err
	}
	hub, outside := n.prefix+"h", n.prefix+"o"
	steps := [][]string{
		{"netns", "add", hub},
		{"-n", hub, "link", "add", "name", "switch", "type", "bridge"},
		{"-n", hub, "link", "set", "switch", "up"},
		{"link", "add", outside, "type", "veth", "peer", "name", "out", "netns", hub},
		{"-n", hub, "link", "set", "out", "master", "switch", "up"},
		{"addr", "add", n.Host() + "/24", "dev", outside},
		{"addr", "add", n.Server() + "/24", "dev", outside},
		{"link", "set", outside, "up"},
	}
	for i := range Nodes {
		space, port := n.Space(i), fmt.Sprintf("p%d", i)
		steps = append(steps, [][]string{
			{"netns", "add", space},
			{"-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", hub},
			{"-n", hub, "link", "set", port, "master", "switch", "up"},
			{"-n", space, "addr", "add", n.Node(i) + "/24", "dev", "eth0"},
			{"-n", space, "link", "set", "eth0", "up"},
			{"-n", space, "link", "set", "lo", "up"},
		}...)
	}
	for _, step := range steps {
		if err := Run(ctx, "ip", step...); err != nil {
			return nil, errors.Join(err, n.Remove())
		}
		switch {
		case step[0] == "netns":
			n.made = append(n.made, []string{"netns", "delete", step[2]})
		case step[1] == "add" && step[2] == outside:
			// The kernel removes it some time after its namespace.
			n.made = append(n.made, []string{"link", "delete", outside})
		}
	}
	return n, nil
}

// free returns an error if somebody uses the addresses.
func (n *Network) free() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if strings.HasPrefix(a.String(), n.subnet) {
			return fmt.Errorf("the address %s is used", a)
		}
	}
	return nil
}

// Remove deletes the link of the host, and the namespaces.
func (n *Network) Remove() error {
	var errs []error
	for _, undo := range slices.Backward(n.made) {
		errs = append(errs, Run(context.Background(), "ip", undo...))
	}
	return errors.Join(errs...)
}

// Cut parts a node from all but the host's first address.
func (n *Network) Cut(ctx context.Context, i int) error {
	for _, rule := range [][]string{{"INPUT", "!", "-s"}, {"OUTPUT", "!", "-d"}} {
		args := append([]string{"netns", "exec", n.Space(i), "iptables", "-A"}, rule...)
		if err := Run(ctx, "ip", append(args, n.Host(), "-j", "DROP")...); err != nil {
			return err
		}
	}
	return nil
}

// Heal undoes a Cut.
func (n *Network) Heal(ctx context.Context, i int) error {
	return Run(ctx, "ip", "netns", "exec", n.Space(i), "iptables", "-F")
}

// Run runs a program. Its error says what that said.
func Run(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return nil
}
