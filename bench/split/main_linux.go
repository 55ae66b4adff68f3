package main

import (
	"context"
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
const nodeVariable = "CLUSTERCHANNEL_SPLIT_NODE"

func main() {
	if os.Getenv(nodeVariable) != "" {
		serve()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "split:", err)
		os.Exit(1)
	}
}

// limit is how long anything is waited for.
const limit = 60 * time.Second

var systems = []string{"Alertmanager", "clusterchannel"}

// row is a number of a measurement.
type row struct {
	title string
	heap  bool // it is a heap, in states; else a time
}

type measurement struct {
	name string
	rows []row
	idle bool // it mostly waits: all rounds at once
	run  func(*network, string) ([]float64, error)
}

var measurements = []measurement{
	{"partial", []row{{title: "3 nodes, two of them apart: 200 bytes, the slowest of 5"}, {title: "5,000 bytes"}, {title: "1 MiB"}}, true, partial},
	{"join", []row{{title: "5 nodes join one that holds 8 MiB: all agree"}, {title: "all have it"}, {title: "the largest heap, in states", heap: true}}, false, join},
	{"heal", []row{{title: "6 and 6 nodes with 8 MiB of their own meet: all have all"}, {title: "the largest heap, in states", heap: true}}, false, heal},
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("split", flag.ExitOnError)
	which := flags.String("measure", choice.Names(measurements, measurement.called), "what is measured, separated by commas")
	rounds := flags.Int("rounds", 5, "how often; the median counts")
	write := flags.String("write", "", "the `directory` docs: put the table into its numbers.md")
	if err := flags.Parse(args); err != nil {
		return err
	}
	some, err := choice.Of("measure", *which, measurements, measurement.called)
	if err != nil {
		return err
	}
	lines := [][]string{append([]string{"measured"}, systems...)}
	for _, m := range some {
		cells := make([][]string, len(m.rows))
		for _, system := range systems {
			found := make([][]float64, len(m.rows))
			all, err := repeat(ctx, m, system, *rounds)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", m.name, system, err)
			}
			for _, values := range all {
				fmt.Fprintln(os.Stderr, m.name, system, values)
				for i, v := range values {
					found[i] = append(found[i], v)
				}
			}
			for i, r := range m.rows {
				slices.Sort(found[i])
				cells[i] = append(cells[i], r.text(found[i][len(found[i])/2]))
			}
		}
		for i, r := range m.rows {
			lines = append(lines, append([]string{r.title}, cells[i]...))
		}
	}
	return docs.Publish(*write, "split", choice.Given(flags, "write"), docs.Table(lines))
}

func (m measurement) called() string { return m.name }

func (r row) text(v float64) string {
	switch {
	case r.heap:
		return fmt.Sprintf("%.1f", v)
	case v >= limit.Seconds():
		return fmt.Sprintf("not within %v", limit)
	case v < 0.1:
		return fmt.Sprintf("%.1f ms", v*1000)
	}
	return fmt.Sprintf("%.2f s", v)
}

// repeat measures in rounds, which wait for each other unless they mostly wait anyway.
func repeat(ctx context.Context, m measurement, system string, rounds int) ([][]float64, error) {
	all, errs := make([][]float64, rounds), make([]error, rounds)
	var wg sync.WaitGroup
	for i := range rounds {
		wg.Go(func() { all[i], errs[i] = once(ctx, m, system) })
		if !m.idle {
			wg.Wait()
		}
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

func once(ctx context.Context, m measurement, system string) ([]float64, error) {
	n, err := build(ctx)
	if err != nil {
		return nil, err
	}
	defer n.remove()
	return m.run(n, system)
}

// partial has a say something that b can have by c alone.
func partial(n *network, system string) (slowest []float64, err error) {
	all, err := n.cluster(system, 3)
	if err != nil {
		return nil, err
	}
	if err := all[0].cut(all[1]); err != nil {
		return nil, err
	}
	for id, size := range []int{200, 200, 200, 200, 200, 5000, 1 << 20} {
		if _, err := all[0].call(order{Do: "say", ID: uint64(id), Size: size}); err != nil {
			return nil, err
		}
		if size > 200 { // they are waited for together
			continue
		}
		if _, err := n.until(all[1], uint64(id)); err != nil {
			return nil, err
		}
	}
	worst := 0.0
	for id := range uint64(7) {
		after, err := n.until(all[1], id)
		if err != nil {
			return nil, err
		}
		if worst = max(worst, after); id >= 4 {
			slowest = append(slowest, worst)
			worst = 0
		}
	}
	return slowest, nil
}

// until waits until a node has a record, and returns how long after it was said.
func (n *network) until(h *host, id uint64) (after float64, err error) {
	after = limit.Seconds()
	return after, n.wait(func() (bool, error) {
		r, err := h.call(order{ID: id})
		if r.Has {
			after = r.After.Seconds()
		}
		return r.Has, err
	})
}

const half = 8 << 20

// join has five nodes start at once on one that holds a state.
func join(n *network, system string) ([]float64, error) {
	all, err := n.hosts(6)
	if err != nil {
		return nil, err
	}
	if err := all[0].open(system, nil); err != nil {
		return nil, err
	}
	if err := all[0].fill(0); err != nil {
		return nil, err
	}
	began := time.Now()
	for _, h := range all[1:] {
		if err := h.open(system, all[:1]); err != nil {
			return nil, err
		}
	}
	agree, have := limit, limit
	err = n.wait(func() (bool, error) {
		members, records, err := least(all)
		if members == len(all) && agree == limit {
			agree = time.Since(began)
		}
		if records == recordsOf && have == limit {
			have = time.Since(began)
		}
		return agree < limit && have < limit, err
	})
	if err != nil {
		return nil, err
	}
	heap, err := heapOf(all)
	return []float64{agree.Seconds(), have.Seconds(), heap / half}, err
}

// heal has two halves meet.
func heal(n *network, system string) ([]float64, error) {
	all, err := n.cluster(system, 12)
	if err != nil {
		return nil, err
	}
	left, right := all[:6], all[6:]
	for _, h := range left {
		if err := h.cut(right...); err != nil {
			return nil, err
		}
	}
	for _, side := range [][]*host{left, right} {
		if err := n.wait(func() (bool, error) {
			for _, h := range side {
				if r, err := h.call(order{}); err != nil || r.Members != len(side) {
					return false, err
				}
			}
			return true, nil
		}); err != nil {
			return nil, err
		}
	}
	for i, side := range [][]*host{left, right} {
		for _, h := range side {
			if err := h.fill(uint64(i)); err != nil {
				return nil, err
			}
		}
	}
	for _, h := range all {
		if _, err := h.call(order{Do: "forget"}); err != nil {
			return nil, err
		}
	}
	for _, h := range left {
		if err := h.uncut(); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	whole := limit
	err = n.wait(func() (bool, error) {
		_, records, err := least(all)
		if records == 2*recordsOf {
			whole = time.Since(began)
		}
		return records == 2*recordsOf, err
	})
	if err != nil {
		return nil, err
	}
	heap, err := heapOf(all)
	return []float64{whole.Seconds(), heap / (2 * half)}, err
}

// least returns how many members and records the worst node has.
func least(all []*host) (members, records int, err error) {
	members, records = 1<<30, 1<<30
	for _, h := range all {
		r, err := h.call(order{})
		if err != nil {
			return 0, 0, err
		}
		members, records = min(members, r.Members), min(records, r.Records)
	}
	return members, records, nil
}

func heapOf(all []*host) (most float64, err error) {
	for _, h := range all {
		r, err := h.call(order{})
		if err != nil {
			return 0, err
		}
		most = max(most, float64(r.Heap))
	}
	return most, nil
}
