package scheduler_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/scheduler"
)

// asked remembers the queries that a stub was asked.
type asked struct {
	mu    sync.Mutex
	times map[string]time.Duration // how far before the present the query looks, by expression
	hosts atomic.Int64             // samples in an answer
}

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var seconds float64
	if _, err := fmt.Sscan(r.Form.Get("time"), &seconds); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	a.times[r.Form.Get("query")] = time.Since(time.UnixMilli(int64(seconds * 1000)))
	a.mu.Unlock()
	var samples []string
	for i := range a.hosts.Load() {
		samples = append(samples, fmt.Sprintf(`{"metric":{"host.name":"h%d"},"value":[%v,"1"]}`, i, seconds))
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(samples, ","))
}

// ago returns how far back the expression was asked for, once it was.
func (a *asked) ago(t *testing.T, expr string) (d time.Duration) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		var ok bool
		if d, ok = a.times[expr]; !ok {
			return fmt.Errorf("nobody asked for %s", expr)
		}
		return nil
	})
	return d
}

func newAsked(hosts int64) *asked {
	a := &asked{times: map[string]time.Duration{}}
	a.hosts.Store(hosts)
	return a
}

// A file of kube-prometheus's kind has recording rules beside alerting ones, in
// one group and in groups of their own. The former are skipped, in one line.
func TestRecordingRulesAreSkipped(t *testing.T) {
	t.Parallel()
	a := newAsked(1)
	var log testkit.Log
	n := start(t, nil, "a", scheduler.Options{QueryURL: stub(t, a.ServeHTTP), Logger: to(&log), RuleFiles: []string{file(t, "r.yml", `
groups:
- name: mixed
  interval: 200ms
  rules:
  - {record: "instance:load:rate", expr: load}
  - {alert: Mixed, expr: "instance:load:rate > 1"}
- name: recorded
  interval: 200ms
  rules:
  - {record: "instance:load:sum", expr: sum(load)}
`)}})
	n.fires(t, "Mixed")
	if got := sorted(n.series(t, evaluations)); len(got) != 1 || !strings.HasSuffix(got[0], ";mixed") {
		t.Errorf("evaluated groups: %q", got)
	}
	lines := slices.DeleteFunc(strings.Split(log.String(), "\n"), func(l string) bool { return !strings.Contains(l, "recording rules are skipped") })
	if len(lines) != 1 || !strings.Contains(lines[0], "instance:load:rate") || !strings.Contains(lines[0], "instance:load:sum") {
		t.Errorf("the log says: %q", lines)
	}
}

func TestWhatGroupsMaySay(t *testing.T) {
	t.Parallel()
	a := newAsked(2)
	n := start(t, nil, "a", scheduler.Options{
		QueryURL: stub(t, a.ServeHTTP), Features: "promql-experimental-functions,promql-binop-fill-modifiers", ResendDelay: time.Millisecond,
		RuleFiles: []string{file(t, "r.yml", `
groups:
- {name: offset, interval: 200ms, query_offset: 10m, rules: [{alert: Late, expr: late}]}
- {name: limited, interval: 200ms, limit: 1, rules: [{alert: Limited, expr: limited}]}
- {name: labelled, interval: 200ms, labels: {team: infra, severity: low}, rules: [{alert: Labelled, expr: labelled, labels: {severity: high}}]}
- {name: kept, interval: 200ms, rules: [{alert: Kept, expr: kept, keep_firing_for: 1h}]}
- {name: experimental, interval: 200ms, rules: [{alert: Experimental, expr: "limitk(1, up)"}, {alert: Filled, expr: "a + fill(0) b"}]}
`)},
	})
	if ago := a.ago(t, "late"); ago < 9*time.Minute || ago > 11*time.Minute {
		t.Errorf("query_offset: it was asked for %v ago", ago)
	}
	testkit.Eventually(t, patience, func() error {
		for group, failures := range n.series(t, "prometheus_rule_evaluation_failures_total") {
			if limited := strings.HasSuffix(group, ";limited"); limited != (failures > 0) {
				return fmt.Errorf("%s: %v failures", group, failures)
			}
		}
		return nil
	})
	if _, ok := n.alert("Limited"); ok {
		t.Error("limit: more alerts than the group may have were sent")
	}
	if got := n.fires(t, "Labelled").Labels; got["team"] != "infra" || got["severity"] != "high" || got["host.name"] == "" {
		t.Errorf("labels: %v", got)
	}
	a.ago(t, "limitk(1, up)")
	n.fires(t, "Kept")
	n.fires(t, "Experimental")
	n.fires(t, "Filled")

	a.hosts.Store(0)
	testkit.Eventually(t, patience, func() error {
		if over, _ := n.alert("Labelled"); !over.Resolved() {
			return fmt.Errorf("it fires: %v", over)
		}
		return nil
	})
	n.fires(t, "Kept")
}
