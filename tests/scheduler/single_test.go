package scheduler_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/scheduler"
)

const evaluatedGroups = "clusterchannel_scheduler_groups_evaluated"

// shared waits until one node evaluates each of n groups, for longer than it
// takes every node to evaluate once.
func shared(t *testing.T, nodes []*node, n float64) {
	t.Helper()
	var first time.Time
	testkit.Eventually(t, patience, func() error {
		var all []float64
		sum := 0.0
		for _, node := range nodes {
			all = append(all, node.metric(t, evaluatedGroups))
			sum += all[len(all)-1]
		}
		if sum != n {
			first = time.Time{}
			return fmt.Errorf("the nodes evaluate %v groups of %v", all, n)
		}
		if first.IsZero() {
			first = time.Now()
		}
		if lasted := time.Since(first); lasted < time.Second {
			return fmt.Errorf("the nodes evaluate %v groups of %v, since %v", all, n, lasted)
		}
		return nil
	})
}

func TestOneNodeEvaluates(t *testing.T) {
	t.Parallel()
	prom, load := startPrometheus(t)
	const n = 30 // so many that each node has some, except once in 60,000 runs
	rules := file(t, "r.yml", groups(n, "load > 1"))
	_, nodes := startThree(t, scheduler.Options{RuleFiles: []string{rules}, QueryURL: "http://" + prom.Addr(), SingleEvaluation: true})
	shared(t, nodes, n)
	for _, node := range nodes {
		if k := node.metric(t, evaluatedGroups); k == 0 || k == n {
			t.Errorf("%s evaluates %v groups of %v", node.name, k, n)
		}
	}
	load.set("load", 2)
	for i := range n {
		for _, node := range nodes {
			node.fires(t, fmt.Sprintf("g%d", i))
		}
	}
	var before []map[string]float64
	for _, node := range nodes {
		before = append(before, node.series(t, evaluations))
	}
	testkit.Eventually(t, patience, func() error {
		grown := map[string][]string{}
		for i, node := range nodes {
			for group, count := range node.series(t, evaluations) {
				if count > before[i][group] {
					grown[group] = append(grown[group], node.name)
				}
			}
		}
		if len(grown) < n {
			return fmt.Errorf("%d groups of %d were evaluated", len(grown), n)
		}
		for group, by := range grown {
			if len(by) != 1 {
				t.Errorf("%s was evaluated by %q", group, by)
			}
		}
		return nil
	})
	transitions := 0
	for _, node := range nodes {
		for _, tr := range node.History() {
			if tr.To == "firing" {
				transitions++
			}
		}
	}
	if transitions != n {
		t.Errorf("the nodes have %d transitions to firing of %d alerts", transitions, n)
	}

	load.set("load", 0)
	for _, node := range nodes {
		testkit.Eventually(t, patience, func() error {
			for i := range n {
				if a, _ := node.alert(fmt.Sprintf("g%d", i)); !a.Resolved() {
					return fmt.Errorf("%s: %v is not resolved", node.name, a)
				}
			}
			return nil
		})
	}
}

// owner is the node that evaluates the only group, and the others.
func owner(t *testing.T, nodes []*node) (*node, []*node) {
	t.Helper()
	shared(t, nodes, 1)
	i := slices.IndexFunc(nodes, func(n *node) bool { return n.metric(t, evaluatedGroups) == 1 })
	return nodes[i], slices.Delete(slices.Clone(nodes), i, i+1)
}

func TestPendingTimeSurvivesTheOwner(t *testing.T) {
	t.Parallel()
	const hold = 6 * time.Second
	prom, load := startPrometheus(t)
	rules := file(t, "r.yml", rule("Long", "load > 1", `, for: 6s, labels: {at: "{{ $value }}"}`))
	bus, nodes := startThree(t, scheduler.Options{RuleFiles: []string{rules}, QueryURL: "http://" + prom.Addr(), SingleEvaluation: true})
	first, others := owner(t, nodes)
	load.set("load", 2)
	pending := since(t, first, "pending")
	lasting(t, hold/2, func() error { return nil })
	lose(t, bus, first, others)
	var fired time.Time
	testkit.Eventually(t, patience, func() error {
		for _, n := range others {
			for _, tr := range n.History() {
				switch {
				case tr.To == "firing":
					fired = tr.Time
				case tr.From == "inactive":
					t.Fatalf("%s began anew: %q", n.name, n.transitions("Long"))
				}
			}
		}
		if fired.IsZero() {
			return fmt.Errorf("it does not fire")
		}
		return nil
	})
	if took := fired.Sub(pending); took < hold || took > hold+hold/3 {
		t.Errorf("it fired after %v, want %v", took, hold)
	}
	for _, n := range others {
		n.fires(t, "Long")
	}
	taken := 0.0
	for _, n := range others {
		taken += n.metric(t, "clusterchannel_scheduler_takeovers_total")
	}
	if taken == 0 {
		t.Error("no take-over is counted")
	}
}

// since waits for the alert's state, and returns when it was entered.
func since(t *testing.T, n *node, state string) (at time.Time) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		for _, tr := range n.History() {
			if tr.To == state {
				at = tr.Time
				return nil
			}
		}
		return fmt.Errorf("%s has no alert %s", n.name, state)
	})
	return at
}

func TestFiringGoesOnAfterTheOwner(t *testing.T) {
	t.Parallel()
	prom, load := startPrometheus(t)
	rules := file(t, "r.yml", `groups:
- name: both
  interval: 200ms
  rules:
  - {alert: Ends, expr: load > 1}
  - {alert: Kept, expr: load > 1, keep_firing_for: 1h}
`)
	bus, nodes := startThree(t, scheduler.Options{RuleFiles: []string{rules}, QueryURL: "http://" + prom.Addr(), SingleEvaluation: true})
	first, others := owner(t, nodes)
	load.set("load", 2)
	began := map[string]time.Time{}
	for _, name := range []string{"Ends", "Kept"} {
		began[name] = first.fires(t, name).StartsAt
		for _, n := range others {
			n.fires(t, name)
		}
	}
	load.set("load", 0)
	lose(t, bus, first, others)
	for _, n := range others {
		testkit.Eventually(t, patience, func() error {
			if a, _ := n.alert("Ends"); !a.Resolved() || !a.StartsAt.Equal(began["Ends"]) {
				return fmt.Errorf("%s: not resolved, or begun anew: %v at %v, want %v", n.name, a, a.StartsAt, began["Ends"])
			}
			return nil
		})
	}
	testkit.Eventually(t, patience, func() error {
		for _, n := range others {
			if n.metric(t, "clusterchannel_scheduler_takeovers_total") > 0 {
				return nil
			}
		}
		return fmt.Errorf("nobody has taken over")
	})
	lasting(t, time.Second, func() error {
		for _, n := range others {
			if a, _ := n.alert("Kept"); a.Resolved() || !a.StartsAt.Equal(began["Kept"]) {
				return fmt.Errorf("%s: it does not keep firing since %v: %v", n.name, began["Kept"], a)
			}
		}
		return nil
	})
}

func TestDoubtMeansEvaluation(t *testing.T) {
	t.Parallel()
	url := stub(t, func(w http.ResponseWriter, _ *http.Request) { vectorOf(w, "host", "x") })
	const interval = 3 * time.Second
	rules := file(t, "r.yml", "groups: [{name: A, interval: 3s, rules: [{alert: A, expr: up}]}]\n")
	bus, nodes := startThree(t, scheduler.Options{RuleFiles: []string{rules}, QueryURL: url, SingleEvaluation: true})
	lasting(t, 2*interval, func() error { return nil }) // at the start all may evaluate, once or twice
	shared(t, nodes, 1)
	bus.Stop()
	stopped := time.Now()
	testkit.Eventually(t, patience, func() error {
		for _, n := range nodes {
			if n.metric(t, evaluatedGroups) == 0 {
				return fmt.Errorf("%s does not evaluate without the cluster (%v)", n.name, n.channel.View().Status)
			}
		}
		return nil
	})
	if took := time.Since(stopped); took > 2*interval { // by silence it takes three
		t.Errorf("they evaluate after %v, want the next interval, %v", took, interval)
	}
	bus.Start()
	shared(t, nodes, 1)
}

// before is a name that comes before the given one in the order of the group.
func before(group, name string) string {
	for i := 0; ; i++ {
		other := fmt.Sprintf("n%d", i)
		if (backend.View{Members: []backend.Member{{Name: name}, {Name: other}}}).Owner(group).Name == other {
			return other
		}
	}
}

// TestStaleOpinionIsForgotten makes a node take over that evaluated an alert
// before it ended and began again.
func TestStaleOpinionIsForgotten(t *testing.T) {
	t.Parallel()
	const hold = 6 * time.Second
	prom, load := startPrometheus(t)
	load.set("load", 2)
	rules := file(t, "r.yml", rule("Again", "load > 1", ", for: 6s"))
	o := scheduler.Options{RuleFiles: []string{rules}, QueryURL: "http://" + prom.Addr(), SingleEvaluation: true}
	bus := newBus(t)
	second := start(t, bus, "a", o)
	since(t, second, "pending")
	first := start(t, bus, before(rules+";Again", "a"), o)
	testkit.Eventually(t, patience, func() error {
		if first.metric(t, evaluatedGroups) != 1 || second.metric(t, evaluatedGroups) != 0 {
			return fmt.Errorf("%s has not taken over", first.name)
		}
		return nil
	})
	load.set("load", 0)
	since(t, first, "inactive")
	load.set("load", 2)
	began := time.Now()
	testkit.Eventually(t, patience, func() error {
		if all := first.transitions("Again"); !slices.Contains(all, "inactive>pending") {
			return fmt.Errorf("it has not begun again: %q", all)
		}
		return nil
	})
	lose(t, bus, first, []*node{second})
	if took := since(t, second, "firing").Sub(began); took < hold {
		t.Errorf("it fired after %v, want %v", took, hold)
	}
}

func TestTooLargeForTheClusterIsEvaluatedByAll(t *testing.T) {
	t.Parallel()
	url := stub(t, func(w http.ResponseWriter, _ *http.Request) { vectorOf(w, "host", "x") })
	large := fmt.Sprintf(", annotations: {text: %q}", strings.Repeat("long ", 1000))
	o := scheduler.Options{RuleFiles: []string{file(t, "r.yml", rule("Large", "up", large))}, QueryURL: url, SingleEvaluation: true}
	bus := newBus(t)
	a, b := start(t, bus, "a", o, maxPayload(2048)), start(t, bus, "b", o, maxPayload(2048))
	for _, n := range []*node{a, b} {
		testkit.Eventually(t, patience, func() error {
			if len(n.channel.Members()) != 2 || n.metric(t, "clusterchannel_scheduler_publish_failures_total") == 0 {
				return fmt.Errorf("%s: no failure to publish is counted", n.name)
			}
			return nil
		})
	}
	counted := counts(t, []*node{a, b})
	lasting(t, time.Second, func() error { return nil }) // for longer than a member is believed to evaluate
	testkit.Eventually(t, patience, func() error {
		if by := evaluated(t, []*node{a, b}, counted); len(by) != 2 {
			return fmt.Errorf("evaluated by %q only", by)
		}
		return nil
	})
}

// heard is a state that keeps the updates that it receives.
type heard struct{ said chan []byte }

func (heard) MarshalBinary() ([]byte, error) { return nil, nil }

func (h heard) Merge(b []byte) error {
	select {
	case h.said <- slices.Clone(b):
	default:
	}
	return nil
}

func TestClockThatIsBehind(t *testing.T) {
	t.Parallel()
	url := stub(t, func(w http.ResponseWriter, _ *http.Request) { vectorOf(w, "host", "x") })
	rules := file(t, "r.yml", rule("A", "up", ""))
	bus := newBus(t)
	n := start(t, bus, "a", scheduler.Options{RuleFiles: []string{rules}, QueryURL: url, SingleEvaluation: true})
	peer, h := join(t, bus, "b"), heard{make(chan []byte, 100)}
	channel, err := peer.channel.AddState("scheduler:groups", h, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.fires(t, "A")
	ahead := time.Now().Add(time.Hour).UnixMilli()
	channel.Broadcast(fmt.Appendf(nil, `{"version":1,"groups":[{"group":%q,"writer":"ahead","revision":%d}]}`, rules+";A", ahead))
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		var doc struct {
			Groups []struct {
				Writer   string
				Revision int64
			}
		}
		select {
		case b := <-h.said:
			if err := json.Unmarshal(b, &doc); err != nil {
				t.Fatal(err)
			}
			for _, g := range doc.Groups {
				if g.Writer != "ahead" && g.Revision > ahead {
					return
				}
			}
		case <-timer.C:
			t.Fatal("it does not get past the revision of a clock that is ahead")
		}
	}
}

// TestMemberThatCannotEvaluate makes the owner's queries fail, and adds members
// without rules that own groups by their names.
func TestMemberThatCannotEvaluate(t *testing.T) {
	t.Parallel()
	var ill atomic.Pointer[string]
	url := stub(t, func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); ill.Load() != nil && user == *ill.Load() {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		vectorOf(w, "host", "x")
	})
	rules := file(t, "r.yml", rule("A", "up", ""))
	bus := newBus(t)
	var nodes []*node
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, start(t, bus, name, scheduler.Options{
			RuleFiles: []string{rules}, QueryURL: strings.Replace(url, "//", "//"+name+":p@", 1), SingleEvaluation: true,
		}))
	}
	first, others := owner(t, nodes)
	ill.Store(&first.name)
	testkit.Eventually(t, patience, func() error {
		if len(evaluated(t, others, nil)) == 0 || others[0].metric(t, evaluatedGroups)+others[1].metric(t, evaluatedGroups) != 1 {
			return fmt.Errorf("no other node stands in")
		}
		return nil
	})
	ill.Store(new(string))
	shared(t, nodes, 1)
	if first.metric(t, evaluatedGroups) != 1 {
		t.Error("the owner is well again, and does not evaluate")
	}

	for i := range 20 { // some of which are before the nodes in the group's order
		join(t, bus, fmt.Sprintf("bare-%d", i))
	}
	shared(t, nodes, 1)
	before := counts(t, nodes)
	testkit.Eventually(t, patience, func() error {
		if len(evaluated(t, nodes, before)) == 0 {
			return fmt.Errorf("nobody evaluates")
		}
		return nil
	})
	shared(t, nodes, 1)
}

// raw is a state of another program under the Scheduler's key.
type raw struct{}

func (raw) MarshalBinary() ([]byte, error) { return nil, nil }
func (raw) Merge([]byte) error             { return nil }

func TestForeignBytes(t *testing.T) {
	t.Parallel()
	bus := newBus(t)
	n := start(t, bus, "a", scheduler.Options{SingleEvaluation: true})
	peer := join(t, bus, "b")
	channel, err := peer.channel.AddState("scheduler:groups", raw{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	alert := func(state, more string) string {
		return fmt.Sprintf(`{"version":1,"groups":[{"group":"f;g","writer":"w","revision":%d,"alerts":[{"rule":"Sent","state":%q,%s}]}]}`, now.UnixMilli(), state, more)
	}
	stamp := func(at time.Time) string { return at.Format(time.RFC3339Nano) }
	times := fmt.Sprintf(`"value":"NaN","active":%q,"fired":%[1]q,"valid":%q`, stamp(now), stamp(now.Add(time.Hour)))
	for _, bad := range []string{
		"", "{", "[]", "null x", `{"version":2,"groups":[]}`, `{"version":1,"groups":[],"more":1}`, `{"version":1,"groups":[]} {}`,
		`{"version":1,"groups":[{"group":"","writer":"w","revision":1}]}`,
		`{"version":1,"groups":[{"group":"g","writer":"","revision":1}]}`,
		`{"version":1,"groups":[{"group":"g","writer":"w","revision":0}]}`,
		`{"version":1,"groups":[{"group":"g","writer":"w","revision":9223372036854775807}]}`,
		alert("odd", `"labels":{"alertname":"Sent"},`+times),
		alert("firing", `"labels":{},`+times),
		alert("firing", `"labels":{"alertname":"Sent"},"value":"x","active":"2026-01-01T00:00:00Z"`),
		alert("firing", `"labels":{"alertname":"Sent"},"value":"1","active":"2026-01-01T00:00:00Z"`),
		alert("firing", `"labels":{"":"Sent"},`+times),
	} {
		failed := n.metric(t, "clusterchannel_state_errors_total")
		channel.Broadcast([]byte(bad))
		testkit.Eventually(t, patience, func() error {
			if n.metric(t, "clusterchannel_state_errors_total") <= failed {
				return fmt.Errorf("not counted as an error: %q", bad)
			}
			return nil
		})
	}
	if a, ok := n.alert("Sent"); ok {
		t.Errorf("delivered: %v", a)
	}
	channel.Broadcast([]byte(alert("firing", `"labels":{"alertname":"Sent"},`+times)))
	n.fires(t, "Sent")
}

func TestJoinerHasTheAlerts(t *testing.T) {
	t.Parallel()
	bus := newBus(t)
	asked := stub(t, func(w http.ResponseWriter, _ *http.Request) { vectorOf(w, "host", "x") })
	rules := file(t, "r.yml", "groups: [{name: A, interval: 1s, rules: [{alert: A, expr: up}]}]\n")
	first := start(t, bus, "a", scheduler.Options{RuleFiles: []string{rules}, QueryURL: asked, SingleEvaluation: true})
	first.fires(t, "A")
	joiner := start(t, bus, "b", scheduler.Options{RuleFiles: []string{rules}, SingleEvaluation: true, ReceiveOnly: true})
	joiner.fires(t, "A")
	if n := joiner.metric(t, evaluations); n != 0 {
		t.Errorf("it evaluated %v times", n)
	}
}
