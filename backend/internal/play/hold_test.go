package play_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/internal/core/sim"
)

var readiness = map[string]float64{
	"settling": float64(backend.Settling), "synced": float64(backend.Synced), "alone": float64(backend.Alone), "timedout": float64(backend.TimedOut),
}

// noted are the metrics that count what the simulator takes from the core's notes.
var noted = map[string]string{
	"note.failed":     "clusterchannel_members_failed_total",
	"note.left":       "alertmanager_cluster_peers_left_total",
	"note.joined":     "alertmanager_cluster_peers_joined_total",
	"note.raised":     "clusterchannel_incarnations_total",
	"note.reattached": "alertmanager_cluster_reconnections_total",
}

// inside are quantities that only the simulator can see.
var inside = []string{"reach", "knows", "marshals", "note.detached", "noted.answered"}

// stepReset has all that is counted be counted from now on.
func stepReset(w *world, args []string) func() {
	w.base = w.counted()
	return nil
}

// counted returns all that is counted since the beginning.
func (w *world) counted() map[string]float64 {
	w.net.mu.Lock()
	all := maps.Clone(w.net.counts)
	w.net.mu.Unlock()
	for name, metric := range noted {
		for _, p := range w.procs {
			all[name] += p.metric(metric)
		}
	}
	for _, p := range w.running() {
		all["views"] += float64(p.node.View().Epoch)
	}
	return all
}

func (p *process) metric(name string) (sum float64) {
	families, err := p.registry.Gather()
	if err != nil {
		p.w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// stepExpect compares a quantity with a number.
func stepExpect(w *world, args []string) func() {
	n := len(args)
	if slices.Contains(inside, args[0]) {
		return nil
	}
	w.sleep(0)
	value := w.quantity(args[:n-2])
	limit, named := readiness[args[n-1]]
	if !named {
		var err error
		if limit, err = strconv.ParseFloat(args[n-1], 64); err != nil {
			panic(err)
		}
	}
	if n == 3 && args[1] == "<=" { // of what is counted, some more where goroutines take turns
		limit += 2
	}
	if ok := map[string]bool{"<=": value <= limit, ">=": value >= limit, "==": value == limit}[args[n-2]]; !ok {
		w.fatalf("expected %s, it is %g", strings.Join(args, " "), value)
	}
	return nil
}

func stepWhole(w *world, _ []string) func() {
	w.sleep(0)
	if lack := w.lacking(); lack != "" {
		w.fatalf("%s", lack)
	}
	return nil
}

// quantity returns what words name, as in the simulator.
func (w *world) quantity(words []string) float64 {
	if len(words) == 1 {
		return w.counted()[words[0]] - w.base[words[0]]
	}
	p := w.live[words[1]]
	if words[0] == "running" {
		return truth(p != nil)
	}
	if p == nil {
		return -1
	}
	v := p.node.View()
	switch words[0] {
	case "members":
		return float64(len(v.Members))
	case "lists": // lists a b : a process of b that runs
		q := w.live[words[2]]
		return truth(q != nil && slices.ContainsFunc(v.Members, func(m backend.Member) bool { return m.Instance == q.instance }))
	case "names": // names a b : how many members of that name a lists
		n := 0
		for _, m := range v.Members {
			if m.Name == words[2] {
				n++
			}
		}
		return float64(n)
	case "position":
		return float64(v.Position)
	case "attached":
		return truth(v.Status == backend.Attached)
	case "partial": // attached, and without some of those who run
		return truth(v.Status == backend.Attached && len(v.Members) < len(w.live))
	case "isolated":
		return truth(v.Isolated)
	case "disputed":
		return float64(len(v.Disputed))
	case "ready":
		return float64(v.Ready)
	case "unready":
		return float64(len(v.Unready))
	case "entries": // entries a s
		return float64(count(p.states[words[2]].set.all()))
	case "lacks": // lacks a s : what another live one has
		return float64(count(w.union(words[2])) - count(p.states[words[2]].set.all()))
	}
	panic("no such quantity: " + strings.Join(words, " "))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// union is what all that run have of a key.
func (w *world) union(key string) (all []uint64) {
	for _, q := range w.running() {
		if st := q.states[key]; st != nil {
			all = join(all, st.set.all())
		}
	}
	return all
}

// untilRest waits until all is whole, within the simulator's bounds, and then looks
// at what still goes on.
func (w *world) untilRest() {
	began := w.now()
	b := w.scenario.Bounds(len(w.running()), w.invented)
	for {
		w.run(w.now() + 250*time.Millisecond)
		passed := w.now() - began
		views, ready, whole := w.disagreement(), w.unready(), w.lacking()
		switch {
		case views != "" && passed > b.Views:
			w.fatalf("%v after the last fault %s", passed, views)
		case ready != "" && passed > b.Ready:
			w.fatalf("%v after the last fault %s", passed, ready)
		case whole != "" && passed > b.Whole:
			w.fatalf("%v after the last fault %s", passed, whole)
		}
		if views+ready+whole == "" {
			break
		}
	}
	w.idle()
}

// idle wants nothing but heartbeats and the periodic comparison, as documented,
// once what was under way is over.
func (w *world) idle() {
	keys, mixed := 0, false
	all := w.running()
	for _, p := range all {
		keys = max(keys, len(p.states))
		mixed = mixed || !slices.Equal(slices.Sorted(maps.Keys(p.states)), slices.Sorted(maps.Keys(all[0].states)))
	}
	w.run(w.now() + w.scenario.Calm(keys, w.lied))
	before := w.counted()
	w.run(w.now() + sim.RestWindow)
	now := w.counted()
	if lack := w.lacking(); lack != "" {
		w.fatalf("at rest %s", lack)
	}
	if views := w.disagreement(); views != "" {
		w.fatalf("at rest %s", views)
	}
	for kind, limit := range w.scenario.Idle(len(all), mixed) {
		if sent := now[kind] - before[kind]; sent > limit {
			w.fatalf("at rest %d nodes sent %g %s in %v, %.0f are expected at most", len(all), sent, kind, sim.RestWindow, limit)
		}
	}
}

// disagreement returns whose view is not that of all who run, or nothing.
func (w *world) disagreement() string {
	var want []string
	for _, p := range w.running() {
		want = append(want, p.instance)
	}
	slices.Sort(want)
	for _, p := range w.running() {
		v := p.node.View()
		var have []string
		for _, m := range v.Members {
			have = append(have, m.Instance)
		}
		slices.Sort(have)
		switch {
		case v.Members[v.Position].Instance != p.instance:
			return fmt.Sprintf("%s is not at its position %d", p.name, v.Position)
		case !slices.Equal(have, want):
			return fmt.Sprintf("%s lists %v, and there are %d", p.name, names(v), len(want))
		case v.Status != backend.Attached:
			return fmt.Sprintf("%s is detached: %v", p.name, v.Err)
		case v.Isolated:
			return p.name + " is isolated"
		case len(v.Disputed) > 0:
			return fmt.Sprintf("%s says that views disagree: %v", p.name, v.Disputed)
		}
	}
	return ""
}

func names(v backend.View) (all []string) {
	for _, m := range v.Members {
		all = append(all, m.Name)
	}
	return all
}

// unready returns who is not ready, or nothing.
func (w *world) unready() string {
	for _, p := range w.running() {
		if v := p.node.View(); v.Ready == backend.Settling || len(v.Unready) > 0 {
			return fmt.Sprintf("%s is not ready: %v, without %v", p.name, v.Ready, v.Unready)
		}
	}
	return ""
}

// lacking returns what one lacks that another one has, or nothing.
func (w *world) lacking() string {
	for _, p := range w.running() {
		for key, st := range p.states {
			have := st.set.all()
			for i, word := range w.union(key) {
				if i < len(have) {
					word &^= have[i]
				}
				for bit := range 64 {
					if word>>bit&1 == 0 {
						continue
					}
					if said := w.entries[64*i+bit]; !said.silent || w.scenario.Timing.Sync > 0 {
						return fmt.Sprintf("%s of %s lacks entry %d, which %s said at %v", key, p.name, 64*i+bit, said.by, said.at)
					}
				}
			}
		}
	}
	return ""
}
