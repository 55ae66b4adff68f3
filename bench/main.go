// Command bench measures one of this project's backends beside its client
// library, on the same server in one run, and beside what is used today, if
// that is known: Alertmanager's own cluster package for memberlist, a model of
// Grafana's peer for Redis. It prints a table with ratios, and does not judge:
// machines are shared and numbers vary.
//
//	go run ./bench -backend redis -nodes 10
//	go run ./bench -backend redis -large -nodes 3,10
//	go run ./bench -backend redis -growth
//	go run ./bench -backend redis -exchange -entries 10000,250000
//	go run ./bench -backend redis -hundreds
//	go run ./bench -backend redis -former ./bench-of-another-commit
//
// It starts the server from a binary of this machine, or uses the one at
// -address. With -growth it measures what a cluster costs as it grows, and draws
// a chart. With -write, tables and charts go into docs.
//
// All nodes of a mesh are in one process, and each contender has its own
// process. Without a server, the traffic of the whole loopback interface is
// measured: nothing else should use it, for example in a separate network
// namespace.
package main

import (
	"bufio"
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/docs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	backend, address, monitor, nodes string
	growth, large, quick, markdown   bool
	exchange, hundreds               bool
	entries                          string
	write, former                    string
	command                          string // the other flags, as given
	rounds                           int
	patience                         time.Duration
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.StringVar(&o.backend, "backend", "memberlist", "memberlist, redis, nats or etcd")
	flags.StringVar(&o.address, "address", "", "`host:port` of a running server; empty: start one")
	flags.StringVar(&o.monitor, "monitor", "", "`host:port` of that server's monitoring, for NATS")
	flags.StringVar(&o.nodes, "nodes", "", "cluster sizes, separated by commas; empty: what suits the backend")
	flags.BoolVar(&o.growth, "growth", false, "measure the cost as the cluster grows")
	flags.BoolVar(&o.exchange, "exchange", false, "measure what it takes to make states equal, and to give one to who joins")
	flags.BoolVar(&o.hundreds, "hundreds", false, "measure how hundreds of nodes form, rest, join, leave, crash and speak")
	flags.StringVar(&o.entries, "entries", "10000,250000", "with -exchange: how many entries of 200 bytes a state has, separated by commas")
	flags.BoolVar(&o.large, "large", false, "measure messages of 1 MiB alone, beside the client library")
	flags.BoolVar(&o.quick, "quick", false, "measure less, for a first impression")
	flags.BoolVar(&o.markdown, "markdown", false, "print a Markdown table")
	flags.StringVar(&o.write, "write", "", "the `directory` docs: put the table into its numbers.md, and the chart into its bench")
	flags.StringVar(&o.former, "former", "", "this `program`, built of another commit: measure its nodes and those of this one in turn, and nothing else")
	flags.IntVar(&o.rounds, "rounds", 3, "how often to measure deliveries; the median counts")
	flags.DurationVar(&o.patience, "patience", time.Minute, "how long to wait for a burst to arrive")
	err = flags.Parse(args)
	flags.Visit(func(f *flag.Flag) {
		switch {
		case f.Name == "write" || f.Name == "address" || f.Name == "monitor":
		case f.Name == "former":
			o.command += " -former PROGRAM"
		case f.Value.String() == "true":
			o.command += " -" + f.Name
		default:
			o.command += " -" + f.Name + " " + f.Value.String()
		}
	})
	return o, err
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == taskArg {
		return runTask(ctx, args[1])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	s, err := suiteOf(o.backend)
	if err != nil {
		return err
	}
	if o.nodes == "" {
		o.nodes = s.nodes
		switch {
		case o.growth:
			o.nodes = s.growth
		case o.exchange:
			o.nodes = "3,10,30"
		case o.hundreds:
			o.nodes = s.hundreds
		}
	}
	sizes, err := parseSizes(o.nodes)
	if err != nil {
		return err
	}
	p, where, stop, err := o.place(ctx)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Println(where)
	if o.exchange {
		return exchange(ctx, o, p, sizes, where)
	}
	if o.hundreds {
		return hundreds(ctx, o, p, sizes, where)
	}
	if o.growth {
		return growth(ctx, o, p, sizes, where)
	}
	return compare(ctx, o, p, sizes, where)
}

func parseSizes(list string) (sizes []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 2 || n > 1000 {
			return nil, fmt.Errorf("-nodes: %q is not within 2 to 1000", text)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// place finds or starts the server, and describes it in words.
func (o options) place(ctx context.Context) (p place, where string, stop func(), err error) {
	p = place{Backend: o.backend}
	where = machine()
	stop = func() {}
	kind, ok := servers[o.backend]
	if !ok {
		return p, where, stop, nil
	}
	if o.address != "" {
		p.Server = endpoint{Addr: o.address, Monitor: fmt.Sprintf(cmp.Or(kind.monitor, "%s"), cmp.Or(o.monitor, o.address))}
	} else if p.Server, stop, err = startServer(ctx, kind); err != nil {
		return p, where, nil, err
	}
	version, err := kind.version(ctx, p.Server)
	if err != nil {
		stop()
		return p, where, nil, err
	}
	return p, version + ", " + where, stop, nil
}

// machine describes this one.
func machine() string {
	model := "an unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close() //nolint:errcheck // it was read
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores of %s, %s/%s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// compare prints the contenders' results for each size.
func compare(ctx context.Context, o options, p place, sizes []int, where string) error {
	c := comparison{suite: suites[p.Backend], large: o.large, quick: o.quick, rounds: max(o.rounds, 1), patience: o.patience, former: o.former}
	what := "comparison"
	switch {
	case o.former != "":
		c.suite, what = c.suite.besideFormer(), "former"
	case o.large:
		c.suite, what = c.suite.largeAlone(), "large"
	}
	table := grid{c.suite.head()}
	for _, n := range sizes {
		found, err := c.measure(ctx, p, n)
		if err != nil {
			return err
		}
		table = append(table, c.suite.lines(n, found)...)
	}
	return o.report(table, what, where)
}

// report prints a table, and writes it to the docs if asked.
func (o options) report(table grid, what, where string) error {
	if o.write != "" {
		text := fmt.Sprintf("`go run ./bench%s`, on %s:\n\n%s", o.command, where, docs.Table(table))
		if err := docs.Insert(o.write, o.backend+" "+what, text); err != nil {
			return err
		}
	}
	if o.markdown {
		_, err := fmt.Print(docs.Table(table))
		return err
	}
	return table.print(os.Stdout)
}
