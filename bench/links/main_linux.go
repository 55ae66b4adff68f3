package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/choice"
	"github.com/clusterchannel/clusterchannel/bench/internal/docs"
)

// nodeVariable is set where this program is a node's process.
const nodeVariable = "CLUSTERCHANNEL_LINKS_NODE"

func main() {
	if os.Getenv(nodeVariable) != "" {
		serve()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "links:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	chosen      []setting
	systems     []system
	length      time.Duration
	atOnce      int
	write, logs string
	command     string // the flags that choose, as given
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("links", flag.ExitOnError)
	conditions := flags.String("conditions", choice.Names(settings, setting.called), "what the links do, separated by commas")
	chosen := flags.String("systems", choice.Names(systems, system.called), "what is measured, separated by commas")
	flags.DurationVar(&o.length, "for", time.Minute, "how long the nodes speak")
	flags.IntVar(&o.atOnce, "at-once", 2, "how many conditions are measured at the same time, each with all systems")
	flags.StringVar(&o.write, "write", "", "the `directory` docs: put the table into its numbers.md")
	flags.StringVar(&o.logs, "logs", "", "the `directory` for the logs of the nodes, on level debug")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.command = choice.Given(flags, "write", "logs")
	if o.logs != "" {
		if err := os.MkdirAll(o.logs, 0o755); err != nil {
			return o, fmt.Errorf("-logs: %w", err)
		}
	}
	var cerr, serr error
	o.chosen, cerr = choice.Of("conditions", *conditions, settings, setting.called)
	o.systems, serr = choice.Of("systems", *chosen, systems, system.called)
	return o, errors.Join(cerr, serr)
}

func (s setting) called() string { return s.name }
func (s system) called() string  { return s.name }

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	var trips []trip
	for _, s := range o.chosen { // one after the other, so that they tell of the links alone
		t, err := s.check(ctx)
		if err != nil {
			return fmt.Errorf("the link itself: %s: %w", s.title, err)
		}
		trips = append(trips, t)
	}
	var all []outcome
	var errs []error
	for some := range slices.Chunk(o.chosen, max(o.atOnce, 1)) {
		found, err := o.together(ctx, some)
		all, errs = append(all, found...), append(errs, err)
	}
	err = errors.Join(errs...)
	if err != nil {
		o.write = ""
	}
	return errors.Join(err, docs.Publish(o.write, "links", o.command, o.table(trips, all)))
}

// together measures all systems on some kinds of links at the same time.
func (o options) together(ctx context.Context, some []setting) ([]outcome, error) {
	found, errs := make([]outcome, len(some)*len(o.systems)), make([]error, len(some)*len(o.systems))
	var wg sync.WaitGroup
	for i := range found {
		s, of := some[i/len(o.systems)], o.systems[i%len(o.systems)]
		wg.Go(func() {
			found[i], errs[i] = s.measure(ctx, of, o.length, o.logs)
			if errs[i] != nil {
				errs[i] = fmt.Errorf("%s, %s: %w", s.title, of.name, errs[i])
			}
		})
	}
	wg.Wait()
	for _, one := range found { // for who looks for a cause
		one.Reached = nil
		if line, err := json.Marshal(one); err == nil {
			fmt.Fprintf(os.Stderr, "%s\n", line)
		}
	}
	return found, errors.Join(errs...)
}

// table is in Markdown: a row for each kind of link, a column for each system.
func (o options) table(trips []trip, all []outcome) string {
	lines := [][]string{{"link", "itself"}}
	for _, s := range o.systems {
		lines[0] = append(lines[0], s.name)
	}
	late, most := time.Duration(0), time.Duration(0)
	for i, s := range o.chosen {
		line := []string{s.title, fmt.Sprintf("%s, %.1f %%", length(trips[i].median()), 100*trips[i].lost())}
		for j := range o.systems {
			one := all[i*len(o.systems)+j]
			line = append(line, one.cell())
			late, most = max(late, one.Late), max(most, one.LateMost)
		}
		lines = append(lines, line)
	}
	return docs.Table(lines) + fmt.Sprintf(
		"\nOf a hundred packets 99 were written less than %s later than due, on the worst of the networks, and the latest of all %s.\n", length(late), length(most))
}

func (o outcome) cell() string {
	if len(o.Reached) == 0 {
		return "failed"
	}
	p50, p99 := o.Reached[len(o.Reached)/2], o.Reached[len(o.Reached)*99/100]
	return fmt.Sprintf("%s, %s; %.0f; %s", length(p50), length(p99), o.Gone, length(o.Repair))
}

func length(d time.Duration) string {
	switch {
	case d >= longest:
		return fmt.Sprintf("not within %v", longest)
	case d < 100*ms:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(ms))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
