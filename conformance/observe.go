package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
)

// agreed waits until nodes agree that they are the cluster.
func (e *env) agreed(nodes ...*node) {
	e.Helper()
	e.within(converge, "all agree on the view", func() error { return agree(nodes...) })
}

// agree reports whether each of nodes is attached and lists exactly all of them.
func agree(nodes ...*node) error {
	for _, n := range nodes {
		v := n.View()
		if err := lists(v, n, nodes...); err != nil {
			return err
		}
		if v.Status != backend.Attached {
			return fmt.Errorf("%s is %v: %v", n, v.Status, v.Err)
		}
	}
	return nil
}

// lists reports whether v, a view of n, is sound and lists exactly nodes.
func lists(v backend.View, n *node, nodes ...*node) error {
	if err := sound(v, n); err != nil {
		return err
	}
	want := make([]backend.Member, len(nodes))
	for i, m := range nodes {
		want[i] = m.self
	}
	slices.SortFunc(want, compareMembers)
	if !slices.EqualFunc(v.Members, want, func(a, b backend.Member) bool { return compareMembers(a, b) == 0 }) {
		return fmt.Errorf("%s lists %s, want %s", n, listing(v.Members), listing(want))
	}
	return nil
}

// sound reports whether v holds n once, is sorted, and has n's index as position.
func sound(v backend.View, n *node) error {
	if !slices.IsSortedFunc(v.Members, compareMembers) {
		return fmt.Errorf("%s: members are not sorted by name and instance: %s", n, listing(v.Members))
	}
	at, times := -1, 0
	for i, m := range v.Members {
		if m.Name == n.self.Name && m.Instance == n.self.Instance {
			at = i
			times++
		}
	}
	if times != 1 {
		return fmt.Errorf("%s is listed %d times in its own view: %s", n, times, listing(v.Members))
	}
	if v.Position != at {
		return fmt.Errorf("%s has position %d in a view where its index is %d: %s", n, v.Position, at, listing(v.Members))
	}
	return nil
}

func compareMembers(a, b backend.Member) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(a.Instance, b.Instance)
}

func listing(members []backend.Member) string {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name + "/" + m.Instance
	}
	return "[" + strings.Join(names, " ") + "]"
}

// metric sums the samples of a metric of n whose labels include labels, which
// are names and values alternately. A histogram counts its observations. A
// missing metric is 0.
func (n *node) metric(name string, labels ...string) float64 {
	n.env.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		n.env.Errorf("%s: gather: %v", n, err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			matches := true
			for i := 0; i+1 < len(labels); i += 2 {
				matches = matches && have[labels[i]] == labels[i+1]
			}
			if matches {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}
