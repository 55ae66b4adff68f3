package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// way is how states are exchanged.
type way string

const (
	entryWise  way = "entry by entry"
	wholeState way = "whole states"
	pushPull   way = "Alertmanager"
)

// repair is what is measured: two members become equal that differ in some entries, or
// one that joins gets all.
type repair struct {
	Way     way
	Entries int
	Differ  int  // 0: one joins
	Equal   bool // instead: two that differ in nothing are compared
	Held    bool // of one that joins: what is held meanwhile, and nothing else
}

// what names the repair.
func (r repair) what() string {
	switch {
	case r.Equal:
		return "a comparison of equals"
	case r.Differ == 0:
		return "one joins"
	}
	return fmt.Sprintf("%d differ", r.Differ)
}

// joins reports whether one joins, and gets all.
func (r repair) joins() bool { return r.Differ == 0 && !r.Equal }

// wholeMost is the largest state that is exchanged whole, and theirMost one that
// Alertmanager is not seen to exchange.
const (
	wholeMost = 256 << 20
	theirMost = 100 << 20
)

// unable says why a repair is not tried; it is empty where it is.
func (r repair) unable() string {
	switch size := r.Entries * entrySize; {
	case r.Way == wholeState && size > wholeMost:
		return "not above 256 MiB"
	case r.Way == pushPull && size > theirMost:
		return "not tried"
	}
	return ""
}

// effort is what a repair takes.
type effort struct {
	Took      time.Duration
	Used      usage
	Rounds    int
	Allocated float64 // bytes, of all nodes
	Held      float64 // bytes, by both sides of a join
	Late      bool    // it was not over
}

// differences are the numbers of entries that two members differ in.
var differences = []int{1, 10, 1000}

const (
	exchangePatience = 2 * theirPeriod
	exchangeSettle   = 4 * time.Second
)

// gather opens a mesh whose members have equal states.
func (r repair) gather(t task) (mesh, error) {
	first := full(r.Entries)
	if r.Way == pushPull {
		m, err := alertmanager.gather(t.Place, t.Nodes)
		if err != nil {
			return nil, err
		}
		for _, s := range m.stores() {
			s.pass.Store(nil)
			s.take(first)
		}
		return m, nil
	}
	m := &seats{
		place: t.Place, cluster: "bench-" + rand.Text()[:8], stateOf: first.copy, meter: newMeter(),
		share: map[way]func(*store) backend.State{entryWise: byEntry, wholeState: whole}[r.Way],
	}
	if !r.joins() {
		m.compare = time.Second
	}
	for range t.Nodes {
		if _, err := m.add(); err != nil {
			m.close()
			return nil, err
		}
	}
	m.stateOf = newStore // of who joins
	return m, awaitMembers(m, t.Nodes)
}

func (r repair) measure(ctx context.Context, t task) (effort, error) {
	if r.Held {
		return r.held(ctx, t)
	}
	m, err := r.gather(t)
	if err != nil {
		return effort{}, err
	}
	defer m.close()
	if err := rest(ctx, exchangeSettle); err != nil { // what they do once they meet is over
		return effort{}, err
	}
	if r.Equal {
		return r.compare(ctx, t, m)
	}
	idle, err := rate(ctx, t, m, 3*time.Second)
	if err != nil {
		return effort{}, err
	}
	e, err := r.run(ctx, t, m)
	e.Used = e.Used.since(idle.times(e.Took.Seconds()))
	return e, err
}

// compareFor is how long two that are equal are looked at.
const compareFor = 10 * time.Second

// compare measures what one comparison takes, of those that two members make while they
// are equal. CPU time and what is allocated are of all that they do meanwhile.
func (r repair) compare(ctx context.Context, t task, m mesh) (e effort, err error) {
	own, ok := m.(*seats)
	if !ok {
		return e, fmt.Errorf("%s compares nothing", r.Way)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pulls, bytes := own.meter.compared()
	e.Used, err = used(ctx, t.Place, m, func() error { return rest(ctx, compareFor) })
	runtime.ReadMemStats(&after)
	nowPulls, nowBytes := own.meter.compared()
	if nowPulls == pulls {
		return e, errors.Join(err, fmt.Errorf("nothing was compared within %v", compareFor))
	}
	e.Used = e.Used.times(1 / float64(nowPulls-pulls))
	e.Used.Said = float64(nowBytes-bytes) / float64(nowPulls-pulls)
	e.Allocated = float64(after.TotalAlloc-before.TotalAlloc) / float64(nowPulls-pulls)
	e.Rounds = 1
	return e, err
}

// run measures the repair itself.
func (r repair) run(ctx context.Context, t task, m mesh) (e effort, err error) {
	rounds := func() (n int) {
		if own, ok := m.(*seats); ok {
			_, n = own.meter.soFar()
		}
		return n
	}
	began := rounds()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	e.Used, err = used(ctx, t.Place, m, func() error {
		stores := m.stores()[:2]
		if r.joins() {
			joined, err := m.join()
			stores = []*store{joined}
			if err != nil {
				return err
			}
		}
		for i := range r.Differ {
			stores[i%2].add(uint64(r.Entries+i), 1)
		}
		e.Late = !await(exchangePatience, func() bool {
			for _, s := range stores {
				if s.count() < r.Entries+r.Differ {
					return false
				}
			}
			return true
		})
		e.Took = time.Since(start)
		return rest(ctx, 200*time.Millisecond) // what is under way is counted too
	})
	runtime.ReadMemStats(&after)
	e.Allocated = float64(after.TotalAlloc - before.TotalAlloc)
	e.Rounds = rounds() - began
	return e, err
}

// take takes over all entries of another store.
func (s *store) take(other *store) {
	all := other.copy().have
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have = all
}

// ways are those that a backend has.
func ways(p place) []way {
	if p.Backend == "memberlist" {
		return []way{entryWise, wholeState, pushPull}
	}
	return []way{entryWise, wholeState}
}

// manyJoin is how large a state may be that is joined in clusters of all sizes; a larger
// one is in the first.
const manyJoin = 100 << 20

// exchange prints and draws what it takes to make states equal.
func exchange(ctx context.Context, o options, p place, sizes []int, where string) (err error) {
	var counts []int
	for text := range strings.SplitSeq(o.entries, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > 10_000_000 {
			return fmt.Errorf("-entries: %q is not within 1 to 10,000,000", text)
		}
		counts = append(counts, n)
	}
	table := grid{{"entries of 200 bytes", "nodes", "what", "how", "took", "rounds", "members send", "messages", "bytes in, out", "CPU", "allocated", "held"}}
	var drawn []series
	for _, n := range counts {
		for _, w := range ways(p) {
			s := series{title: fmt.Sprintf("%s, of %d", w, n)}
			if s.prices, err = o.repairs(ctx, p, n, w, &table); err != nil {
				return err
			}
			if n == counts[len(counts)-1] && len(s.prices) > 0 {
				drawn = append(drawn, s)
			}
		}
		for i, nodes := range sizes {
			if i > 0 && n*entrySize > manyJoin {
				break
			}
			for _, w := range ways(p) {
				if _, err := o.repair(ctx, p, nodes, repair{Way: w, Entries: n}, &table); err != nil {
					return err
				}
			}
		}
	}
	if o.write != "" {
		chart := exchangeFigure.chart(p.Backend+": what it costs to make two members equal", drawn)
		if err := os.WriteFile(filepath.Join(o.write, "bench", p.Backend+"-exchange.svg"), []byte(chart), 0o644); err != nil {
			return err
		}
	}
	return o.report(table, "exchange", where)
}

// repairs measures what it takes to make two members equal that differ in some entries.
// Alertmanager's exchange all once a minute, however many differ: one number is enough.
func (o options) repairs(ctx context.Context, p place, entries int, w way, table *grid) (prices []price, err error) {
	if w != pushPull {
		if _, err := o.repair(ctx, p, 2, repair{Way: w, Entries: entries, Equal: true}, table); err != nil {
			return nil, err
		}
	}
	for _, differ := range differences {
		if w == pushPull && len(prices) > 0 {
			prices = append(prices, price{Nodes: differ, Join: prices[0].Join})
			continue
		}
		e, err := o.repair(ctx, p, 2, repair{Way: w, Entries: entries, Differ: differ}, table)
		if err != nil {
			return nil, err
		}
		if e.Late {
			return nil, nil // there is nothing to draw
		}
		prices = append(prices, price{Nodes: differ, Join: e.Used})
	}
	return prices, nil
}

var exchangeFigure = figure{panels: []panel{
	{"to make two members equal", "bytes", func(p price) float64 { return p.Join.Bytes }},
	{"to make two members equal", "messages", func(p price) float64 { return p.Join.messages() }},
	{"to make two members equal", "ms of CPU", func(p price) float64 { return float64(p.Join.Own) / 1e6 }},
}, label: "entries that differ", note: "Both axes are logarithmic."}

// repair measures one repair in a process of its own, and adds a line to the table.
func (o options) repair(ctx context.Context, p place, nodes int, r repair, table *grid) (e effort, err error) {
	line := []string{fmt.Sprint(r.Entries), fmt.Sprint(nodes), r.what(), string(r.Way)}
	if why := r.unable(); why != "" {
		*table = append(*table, append(line, why, "", "", "", "", "", "", ""))
		return effort{Late: true}, nil
	}
	err = task{Do: doRepair, Role: ourRole, Place: p, Nodes: nodes, Repair: r}.run(ctx, &e)
	if err == nil && r.joins() && r.Way != pushPull && nodes == 3 {
		var with effort
		r.Held = true
		err = task{Do: doRepair, Role: ourRole, Place: p, Nodes: 1, Repair: r}.run(ctx, &with)
		e.Held = with.Held
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return e, ctx.Err()
	case err != nil:
		return e, err
	case e.Late:
		*table = append(*table, append(line, fmt.Sprintf("not within %v", exchangePatience), "", "", "", "", "", "", ""))
	default:
		*table = append(*table, append(line, e.cells()...))
	}
	return e, nil
}

// cells are those of an effort: its time, rounds, traffic and work.
func (e effort) cells() []string {
	text, rounds, said := "", "", ""
	if e.Took > 0 {
		text = took(e.Took).Text
	}
	if e.Rounds > 0 {
		rounds, said = fmt.Sprint(e.Rounds), size(e.Used.Said)
	}
	bytes := size(e.Used.Bytes)
	if e.Used.BytesIn > 0 {
		bytes = size(e.Used.BytesIn) + ", " + size(e.Used.Bytes-e.Used.BytesIn)
	}
	held := ""
	if e.Held > 0 {
		held = size(e.Held)
	}
	return []string{text, rounds, said, fmt.Sprintf("%.0f", max(0, e.Used.messages())), bytes, took(max(0, e.Used.Own)).Text, size(e.Allocated), held}
}

// size writes a number of bytes.
func size(bytes float64) string {
	switch bytes = max(0, bytes); {
	case bytes >= 1e6:
		return fmt.Sprintf("%.1f MB", bytes/1e6)
	case bytes >= 1e3:
		return fmt.Sprintf("%.1f kB", bytes/1e3)
	}
	return fmt.Sprintf("%.0f B", bytes)
}
