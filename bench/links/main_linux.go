package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

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
	conditions := flags.String("conditions", names(settings), "what the links do, separated by commas")
	chosen := flags.String("systems", names(systems), "what is measured, separated by commas")
	flags.DurationVar(&o.length, "for", time.Minute, "how long the nodes speak")
	flags.IntVar(&o.atOnce, "at-once", 2, "how many conditions are measured at the same time, each with all systems")
	flags.StringVar(&o.write, "write", "", "the `directory` docs: put the table into its numbers.md")
	flags.StringVar(&o.logs, "logs", "", "the `directory` for the logs of the nodes, on level debug")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "write" && f.Name != "logs" {
			o.command += " -" + f.Name + " " + f.Value.String()
		}
	})
	if o.logs != "" {
		if err := os.MkdirAll(o.logs, 0o755); err != nil {
			return o, fmt.Errorf("-logs: %w", err)
		}
	}
	var cerr, serr error
	o.chosen, cerr = choose("conditions", *conditions, settings)
	o.systems, serr = choose("systems", *chosen, systems)
	return o, errors.Join(cerr, serr)
}

type named interface{ called() string }

func (s setting) called() string { return s.name }
func (s system) called() string  { return s.name }

func names[T named](all []T) string {
	var list []string
	for _, one := range all {
		list = append(list, one.called())
	}
	return strings.Join(list, ",")
}

func choose[T named](flag, list string, all []T) (some []T, err error) {
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(one T) bool { return one.called() == name })
		if i < 0 {
			return nil, fmt.Errorf("-%s: %q is none of %s", flag, name, names(all))
		}
		some = append(some, all[i])
	}
	return some, nil
}

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
	text := o.table(trips, all)
	fmt.Print(text)
	if err := errors.Join(errs...); err != nil || o.write == "" {
		return err
	}
	where := fmt.Sprintf("`go run ./bench/links%s`, on %d cores, %s/%s, %s:\n\n", o.command, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	return docs.Insert(o.write, "links", where+text)
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
	var b strings.Builder
	b.WriteString("| link | itself |")
	for _, s := range o.systems {
		b.WriteString(" " + s.name + " |")
	}
	b.WriteString("\n" + strings.Repeat("|---", len(o.systems)+2) + "|\n")
	late, most := time.Duration(0), time.Duration(0)
	for i, s := range o.chosen {
		fmt.Fprintf(&b, "| %s | %s, %.1f %% |", s.title, length(trips[i].median()), 100*trips[i].lost())
		for j := range o.systems {
			one := all[i*len(o.systems)+j]
			b.WriteString(" " + one.cell() + " |")
			late, most = max(late, one.Late), max(most, one.LateMost)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\nOf a hundred packets 99 were written less than %s later than due, on the worst of the networks, and the latest of all %s.\n", length(late), length(most))
	return b.String()
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
