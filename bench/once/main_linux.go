package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/choice"
	"github.com/clusterchannel/clusterchannel/bench/internal/docs"
	"github.com/clusterchannel/clusterchannel/bench/internal/network"
)

// nodeVariable is set where this program is a node's process: its task.
const nodeVariable = "CLUSTERCHANNEL_ONCE_NODE"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv(nodeVariable)); err != nil {
		fmt.Fprintln(os.Stderr, "once:", err)
		os.Exit(1)
	}
}

// settling is how long nodes that have met again have to exchange what they did.
const settling = 5 * time.Second

// fault is what happens to one of the nodes.
type fault struct {
	name, title string
	deadly      bool
	happen      func(context.Context, *network.Network, *node) error
}

var faults = []fault{
	{"none", "none", false, func(context.Context, *network.Network, *node) error { return nil }},
	{"kill", "one is killed", true, func(_ context.Context, _ *network.Network, n *node) error {
		n.kill()
		return nil
	}},
	{"pause", "one stands still for 15 s", false, func(_ context.Context, _ *network.Network, n *node) error {
		if err := n.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		pause(15 * time.Second)
		return n.cmd.Process.Signal(syscall.SIGCONT)
	}},
	{"cut-5s", "one is cut off for 5 s, less than grace", false, cut(5 * time.Second)},
	{"cut-30s", "one is cut off for 30 s, more than grace", false, cut(30 * time.Second)},
}

func cut(length time.Duration) func(context.Context, *network.Network, *node) error {
	return func(ctx context.Context, net *network.Network, _ *node) error {
		if err := net.Cut(ctx, 0); err != nil {
			return err
		}
		pause(length)
		return net.Heal(ctx, 0)
	}
}

var backends = []string{"memberlist", "redis", "nats", "etcd"}

// outcome is what a cluster did.
type outcome struct {
	twice, never, counted int
	windows               []time.Duration
}

func run(ctx context.Context, args []string, node string) error {
	if node != "" {
		var t task
		if err := json.Unmarshal([]byte(node), &t); err != nil {
			return err
		}
		return serve(ctx, t)
	}
	named, itself := func(f fault) string { return f.name }, func(backend string) string { return backend }
	flags := flag.NewFlagSet("once", flag.ExitOnError)
	which := flags.String("backends", choice.Names(backends, itself), "what is measured, separated by commas")
	happens := flags.String("faults", choice.Names(faults, named), "what happens, separated by commas")
	keys := flags.Int("keys", 500, "how many are done")
	write := flags.String("write", "", "the `directory` docs: put the table into its numbers.md")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choice.Of("backends", *which, backends, itself)
	if err != nil {
		return err
	}
	some, err := choice.Of("faults", *happens, faults, named)
	if err != nil {
		return err
	}
	lines := [][]string{append([]string{"fault", fmt.Sprintf("of %d keys", *keys)}, chosen...)}
	for _, f := range some {
		times, lengths := []string{f.title, "done twice, counted, never done"}, []string{"", "all know, p50, p99"}
		for _, b := range chosen {
			found, err := measure(ctx, b, f, *keys)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", b, f.name, err)
			}
			fmt.Fprintf(os.Stderr, "%s, %s: %s; %s\n", b, f.name, found.times(), found.lengths())
			times, lengths = append(times, found.times()), append(lengths, found.lengths())
		}
		lines = append(lines, times, lengths)
	}
	return docs.Publish(*write, "once", choice.Given(flags, "write"), docs.Table(lines))
}

func (o outcome) times() string { return fmt.Sprintf("%d, %d, %d", o.twice, o.counted, o.never) }

func (o outcome) lengths() string {
	if len(o.windows) == 0 {
		return ""
	}
	slices.Sort(o.windows)
	return short(o.windows[len(o.windows)/2]) + ", " + short(o.windows[len(o.windows)*99/100])
}

func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
