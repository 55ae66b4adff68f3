package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/choice"
	"github.com/clusterchannel/clusterchannel/bench/internal/network"
	"github.com/clusterchannel/clusterchannel/bench/internal/program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measureAll(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "delivery:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	faults, systems string
	rounds, atOnce  int
	raw, write      string
	command         string // the flags that choose, as given
}

func parse(args []string) (o options, chosen []fault, contenders []system, err error) {
	flags := flag.NewFlagSet("delivery", flag.ExitOnError)
	flags.StringVar(&o.faults, "faults", choice.Names(faults, fault.called), "what happens, separated by commas")
	flags.StringVar(&o.systems, "systems", choice.Names(systems, system.called), "what is measured, separated by commas")
	flags.IntVar(&o.rounds, "rounds", 1, "how often; the median counts")
	flags.IntVar(&o.atOnce, "at-once", 1, "how many faults are tried at the same time, each on clusters of its own")
	flags.StringVar(&o.write, "write", "", "the `directory` docs: put the table into its numbers.md, and the runs into its bench")
	flags.StringVar(&o.raw, "raw", "", "the `directory` for what each alert met, a file for each run, and for the logs")
	if err := flags.Parse(args); err != nil {
		return o, nil, nil, err
	}
	o.command = choice.Given(flags, "write", "raw")
	chosen, ferr := choice.Of("faults", o.faults, faults, fault.called)
	contenders, serr := choice.Of("systems", o.systems, systems, system.called)
	return o, chosen, contenders, errors.Join(ferr, serr)
}

func (f fault) called() string  { return f.name }
func (s system) called() string { return s.name }

func measureAll(ctx context.Context, args []string) (err error) {
	o, chosen, contenders, err := parse(args)
	if err != nil {
		return err
	}
	if o.raw != "" {
		if err := os.MkdirAll(o.raw, 0o755); err != nil {
			return fmt.Errorf("-raw: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "clusterchannel-delivery-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := prepare(ctx, dir, contenders)
	if err != nil {
		return err
	}
	var runs []outcome
	for round := range max(o.rounds, 1) {
		for some := range slices.Chunk(chosen, max(o.atOnce, 1)) {
			found, err := o.together(ctx, some, contenders, p, filepath.Join(dir, strconv.Itoa(round)))
			if err != nil {
				return err
			}
			for _, one := range found {
				one.Round = round
				if err := o.keep(one); err != nil {
					return err
				}
				fmt.Fprintf(os.Stderr, "%s, %s: %s of %d\n", one.Fault, one.System, cell([]outcome{one}), one.Alerts)
			}
			runs = append(runs, found...)
		}
	}
	return o.report(chosen, contenders, runs)
}

// prepare builds our command, and finds Alertmanager where it is measured: the
// one that conformance/images/build made, which has the version of our module.
func prepare(ctx context.Context, dir string, contenders []system) (p programs, err error) {
	p.ours = filepath.Join(dir, "clusterchannel")
	if err := network.Run(ctx, "go", "build", "-o", p.ours, "github.com/clusterchannel/clusterchannel/cmd/clusterchannel"); err != nil {
		return p, err
	}
	if !slices.ContainsFunc(contenders, func(s system) bool { return s.name == "alertmanager" }) {
		return p, nil
	}
	p.alertmanager, err = program.Made("alertmanager")
	return p, err
}

// together lets each fault happen to a cluster of each system at the same time.
func (o options) together(ctx context.Context, some []fault, contenders []system, p programs, dir string) ([]outcome, error) {
	found, errs := make([]outcome, len(some)*len(contenders)), make([]error, len(some)*len(contenders))
	var wg sync.WaitGroup
	for i := range found {
		f, s := some[i/len(contenders)], contenders[i%len(contenders)]
		wg.Go(func() {
			found[i], errs[i] = o.measure(ctx, f, s, p, i, filepath.Join(dir, f.name, s.name))
			if errs[i] != nil {
				errs[i] = fmt.Errorf("%s, %s: %w", f.name, s.name, errs[i])
			}
		})
	}
	wg.Wait()
	return found, errors.Join(errs...)
}

const (
	before = groupWait + 5*time.Second // alerts come before the fault
	after  = 10 * time.Second          // and after it
	last   = 2*time.Minute + groupWait // the time that the last has to come
	turns  = 35 * time.Second          // in which the others would send it again
)

// measure lets a fault happen to one cluster.
func (o options) measure(ctx context.Context, f fault, s system, p programs, number int, dir string) (out outcome, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, err
	}
	n, err := network.Build(ctx, number, os.Getpid())
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, n.Remove()) }()
	since := time.Now()
	r, err := receive(n.Host(), since)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	c, err := form(ctx, s, p, n, dir, r.url)
	if err != nil {
		return out, errors.Join(err, o.keepLogs(dir, f, s))
	}
	defer func() { err = errors.Join(err, c.close(), o.keepLogs(dir, f, s)) }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, enough, fed := newSender(ctx, c.urls(), since), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(fed)
		from.feed(ctx, enough)
	}()
	defer func() {
		cancel()
		<-fed
	}()
	if err := pause(ctx, before); err != nil {
		return out, err
	}
	begin := time.Since(since)
	if err := f.happen(ctx, c); err != nil {
		return out, err
	}
	end := time.Since(since)
	if err := pause(ctx, after); err != nil {
		return out, err
	}
	close(enough)
	if err := pause(ctx, groupWait); err != nil {
		return out, err
	}
	deadline := time.Now().Add(last)
	for !r.has(from.said()) && time.Now().Before(deadline) {
		if err := pause(ctx, time.Second); err != nil {
			return out, err
		}
	}
	if err := pause(ctx, turns); err != nil {
		return out, err
	}
	cancel()
	<-fed
	out = judge(from, r)
	out.Fault, out.System, out.FaultFrom, out.FaultTo = f.name, s.name, begin, end
	return out, nil
}

// keep writes what each alert met.
func (o options) keep(one outcome) error {
	if o.raw == "" {
		return nil
	}
	b, err := json.MarshalIndent(one, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.raw, fmt.Sprintf("%s-%s-%d.json", one.Fault, one.System, one.Round)), b, 0o644)
}

// keepLogs copies the logs of a run.
func (o options) keepLogs(dir string, f fault, s system) error {
	if o.raw == "" {
		return nil
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	for _, log := range logs {
		b, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(o.raw, fmt.Sprintf("%s-%s-%s", f.name, s.name, filepath.Base(log))), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
