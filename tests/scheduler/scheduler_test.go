package scheduler_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/scheduler"
)

func TestEveryNodeEvaluates(t *testing.T) {
	t.Parallel()
	prom, load := startPrometheus(t)
	load.set(`load{host="x"}`, 0)
	text := rule("High", "load > 1", `, for: 400ms, labels: {severity: "{{ if gt $value 5.0 }}high{{ end }}"}, annotations: {
  summary: "{{ $labels.host }} is at {{ $value }}", server: "{{ $externalURL }}", asked: '{{ with query "vector(3)" }}{{ . | first | value }}{{ end }}'}`)
	rules := file(t, "r.yml", strings.Replace(text, "interval:", "labels: {team: a}, interval:", 1))
	_, nodes := startThree(t, scheduler.Options{RuleFiles: []string{rules}, QueryURL: "http://user:secret@" + prom.Addr() + "/?dedup=secret"})
	load.set(`load{host="x"}`, 7)
	for _, n := range nodes {
		a := n.fires(t, "High")
		if a.Labels["severity"] != "high" || a.Labels["team"] != "a" || a.Annotations["summary"] != "x is at 7" ||
			a.Annotations["server"] != model.LabelValue("http://"+prom.Addr()) || a.Annotations["asked"] != "3" || a.GeneratorURL != "http://"+prom.Addr()+"/graph?g0.expr=load+%3E+1&g0.tab=1" {
			t.Errorf("%s received %v, %v, %s", n.name, a.Labels, a.Annotations, a.GeneratorURL)
		}
	}
	if names := evaluated(t, nodes, nil); len(names) != len(nodes) {
		t.Errorf("only %q evaluated", names)
	}
	load.set(`load{host="x"}`, 0)
	for _, n := range nodes {
		want := []string{"inactive>pending", "pending>firing", "firing>inactive"}
		testkit.Eventually(t, patience, func() error {
			a, _ := n.alert("High")
			if got := n.transitions("High"); !a.Resolved() || !slices.Equal(got, want) {
				return fmt.Errorf("%s: resolved: %v, history: %q, want %q", n.name, a.Resolved(), got, want)
			}
			return nil
		})
		var page struct {
			Instance    string
			Transitions []scheduler.Transition
		}
		if err := json.Unmarshal([]byte(body(t, n.HistoryHandler())), &page); err != nil || page.Instance != n.name {
			t.Errorf("history: %+v, %v", page, err)
		}
		for _, tr := range page.Transitions {
			if tr.Instance != n.name || tr.Labels["host"] != "x" || tr.Time.IsZero() {
				t.Errorf("history of %s: %+v", n.name, tr)
			}
		}
	}
}

func TestReceiveOnlyEvaluatesNothing(t *testing.T) {
	t.Parallel()
	prom, load := startPrometheus(t)
	load.set("load", 2)
	o := scheduler.Options{RuleFiles: []string{file(t, "r.yml", rule("High", "load > 1", ""))}, QueryURL: "http://" + prom.Addr()}
	bus := newBus(t)
	evaluates := start(t, bus, "a", o)
	o.ReceiveOnly = true
	only := start(t, bus, "b", o)
	evaluates.fires(t, "High")
	if a, ok := only.alert("High"); ok || only.metric(t, evaluations) > 0 || len(only.History()) > 0 {
		t.Errorf("a node that only receives evaluated: %v", a)
	}
	if err := only.Reload(); err != nil || only.metric(t, "clusterchannel_scheduler_reload_successful") != 1 {
		t.Errorf("it says that its rules are not loaded: %v", err)
	}
}

func TestQueriedServerIsLost(t *testing.T) {
	t.Parallel()
	prom, load := startPrometheus(t)
	rules := []string{
		file(t, "high.yml", rule("High", "load > 1", "")),
		file(t, "fires.yml", rule("Fires", "vector(1)", "")), file(t, "waits.yml", rule("Waits", "vector(1)", ", for: 1h")),
	}
	n := start(t, nil, "a", scheduler.Options{RuleFiles: rules, QueryURL: "http://" + prom.Addr(), EvaluationTimeout: time.Second})
	if left := time.Until(n.fires(t, "Fires").EndsAt); left < 3*time.Minute || left > 4*time.Minute {
		t.Errorf("without the server an alert is over after %v, want four minutes", left)
	}
	since(t, n, "pending")
	prom.Kill(t)
	const failures = "prometheus_rule_evaluation_failures_total"
	testkit.Eventually(t, patience, func() error {
		if n.metric(t, failures) == 0 {
			return fmt.Errorf("no failure is counted while the server is down")
		}
		return nil
	})
	load.set("load", 2)
	prom.Start(t)
	n.fires(t, "High")
	failed := n.metric(t, failures)
	lasting(t, time.Second, func() error {
		if now := n.metric(t, failures); now > failed {
			return fmt.Errorf("failures are counted on: %v, then %v", failed, now)
		}
		return nil
	})
	for name, want := range map[string]string{"Fires": "inactive>firing", "Waits": "inactive>pending"} {
		if all := n.transitions(name); !slices.Equal(all, []string{want}) {
			t.Errorf("%s has begun anew: %q", name, all)
		}
	}
}

// TestSecretsOfTheQueryURL uses the URL of a server that is away, with secrets
// in it.
func TestSecretsOfTheQueryURL(t *testing.T) {
	t.Parallel()
	var log testkit.Log
	start(t, nil, "a", scheduler.Options{
		RuleFiles: []string{file(t, "r.yml", rule("A", "up", ""))}, QueryURL: "http://s3cret:s3cret@127.0.0.1:1/prefix?key=s3cret", Logger: to(&log),
	})
	testkit.Eventually(t, patience, func() error {
		if !strings.Contains(log.String(), "http://127.0.0.1:1/prefix") || !strings.Contains(log.String(), "refused") {
			return fmt.Errorf("the log does not say what failed: %s", log.String())
		}
		return nil
	})
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("the log shows a secret: %s", log.String())
	}
}

func TestQueryThatFails(t *testing.T) {
	t.Parallel()
	prom, load := startPrometheus(t)
	load.set(`load{host="x"}`, 2)
	load.set(`load{host="y"}`, 2)
	var log testkit.Log
	rules := file(t, "r.yml", `groups:
- name: mixed
  interval: 200ms
  rules:
  - {alert: Many, expr: "load * on(job) load > 0"}
  - {alert: Good, expr: 'load{host="x"} > 1'}
`)
	n := start(t, nil, "a", scheduler.Options{RuleFiles: []string{rules}, QueryURL: "http://" + prom.Addr(), Logger: to(&log)})
	n.fires(t, "Good")
	testkit.Eventually(t, patience, func() error {
		if text := log.String(); n.metric(t, "prometheus_rule_evaluation_failures_total") == 0 || !strings.Contains(text, "many-to-many") || !strings.Contains(text, "Many") {
			return fmt.Errorf("the failure is not counted, or not named: %s", text)
		}
		return nil
	})
}

func TestSlowAndMissedEvaluationsAreCounted(t *testing.T) {
	t.Parallel()
	url := stub(t, func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(500 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			vectorOf(w, "host", "x")
		case <-r.Context().Done():
		}
	})
	n := start(t, nil, "a", scheduler.Options{RuleFiles: []string{file(t, "r.yml", rule("Slow", "up", ""))}, QueryURL: url})
	for _, name := range []string{"clusterchannel_scheduler_slow_evaluations_total", "prometheus_rule_group_iterations_missed_total"} {
		testkit.Eventually(t, patience, func() error {
			if n.metric(t, name) == 0 {
				return fmt.Errorf("%s is 0", name)
			}
			return nil
		})
	}
}

func TestEvaluationTimeout(t *testing.T) {
	t.Parallel()
	url := stub(t, func(_ http.ResponseWriter, r *http.Request) { _ = r.ParseForm(); <-r.Context().Done() })
	var log testkit.Log
	n := start(t, nil, "a", scheduler.Options{
		RuleFiles: []string{file(t, "r.yml", rule("Hangs", "up", ""))}, QueryURL: url, EvaluationTimeout: 100 * time.Millisecond, Logger: to(&log),
	})
	testkit.Eventually(t, patience, func() error {
		if n.metric(t, "prometheus_rule_evaluation_failures_total") == 0 || !strings.Contains(log.String(), "evaluation timeout, 100ms") {
			return fmt.Errorf("no failure names the timeout: %s", log.String())
		}
		return nil
	})
}

func TestAnswersThatAreNoVector(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"Matrix": `{"status":"success","data":{"resultType":"matrix","result":[]}}`,
		"Page":   `<html>`,
		"Scalar": `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`,
	}
	for name, want := range map[string]string{"Matrix": "neither a vector nor a scalar", "Page": "bad_response", "Scalar": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log testkit.Log
			url := stub(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answers[name])) })
			n := start(t, nil, "a", scheduler.Options{RuleFiles: []string{file(t, "r.yml", rule(name, "up", ""))}, QueryURL: url, Logger: to(&log)})
			if want == "" {
				n.fires(t, name)
				return
			}
			testkit.Eventually(t, patience, func() error {
				if !strings.Contains(log.String(), want) {
					return fmt.Errorf("the log does not say %q: %s", want, log.String())
				}
				return nil
			})
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	changes := 0
	url := stub(t, func(w http.ResponseWriter, _ *http.Request) { // asked by one rule, so once at a time
		changes++
		vectorOf(w, "host", fmt.Sprint(changes))
	})
	n := start(t, nil, "a", scheduler.Options{RuleFiles: []string{file(t, "r.yml", rule("New", "up", ""))}, QueryURL: url, HistorySize: 5})
	testkit.Eventually(t, patience, func() error {
		var page struct {
			Transitions []scheduler.Transition
			Forgotten   int
		}
		if err := json.Unmarshal([]byte(body(t, n.HistoryHandler())), &page); err != nil {
			t.Fatal(err)
		}
		if page.Forgotten < 7 {
			return fmt.Errorf("%d are forgotten", page.Forgotten)
		}
		ordered := slices.IsSortedFunc(page.Transitions, func(a, b scheduler.Transition) int { return a.Time.Compare(b.Time) })
		if len(page.Transitions) != 5 || !ordered {
			t.Errorf("%d are kept, in order: %v", len(page.Transitions), ordered)
		}
		return nil
	})
}

func TestReload(t *testing.T) {
	t.Parallel()
	url := stub(t, func(w http.ResponseWriter, _ *http.Request) { vectorOf(w, "host", "x") })
	dir := t.TempDir()
	path := rewrite(t, filepath.Join(dir, "a.yml"), rule("First", "up", ""))
	n := start(t, nil, "a", scheduler.Options{RuleFiles: []string{filepath.Join(dir, "*.yml")}, QueryURL: url})
	n.fires(t, "First")

	rewrite(t, path, "groups:\n- name: x\n  rules:\n  - {alert: A, expr: 'up >'}\n")
	const successful = "clusterchannel_scheduler_reload_successful"
	if err := n.Reload(); err == nil || !strings.Contains(err.Error(), path+": 4:") || n.metric(t, successful) != 0 {
		t.Errorf("a file that does not parse: %v", err)
	}
	before := n.metric(t, evaluations)
	testkit.Eventually(t, patience, func() error {
		if n.metric(t, evaluations) <= before {
			return fmt.Errorf("the former rules are not evaluated any more")
		}
		return nil
	})

	rewrite(t, path, rule("Second", "up", ""))
	rewrite(t, filepath.Join(dir, "b.yml"), rule("Third", "up", ""))
	if err := n.Reload(); err != nil || n.metric(t, successful) != 1 {
		t.Fatal(err)
	}
	n.fires(t, "Second")
	n.fires(t, "Third")
	if got := sorted(n.series(t, evaluations)); len(got) != 2 || n.metric(t, "clusterchannel_scheduler_groups") != 2 {
		t.Errorf("groups after the reload: %q", got)
	}
}

func TestMinInterval(t *testing.T) {
	t.Parallel()
	n := start(t, nil, "a", scheduler.Options{
		RuleFiles: []string{file(t, "r.yml", groups(1, "up")+"- {name: long, interval: 1h}\n- {name: none}\n")}, QueryURL: "http://127.0.0.1:1",
		MinInterval: 20 * time.Minute, Interval: time.Second,
	})
	for group, seconds := range n.series(t, "prometheus_rule_group_interval_seconds") {
		want := 1200.0
		if strings.HasSuffix(group, ";long") {
			want = 3600
		}
		if seconds != want {
			t.Errorf("%s is evaluated every %vs, want %v", group, seconds, want)
		}
	}
}

func TestAnswerThatIsTooLarge(t *testing.T) {
	t.Parallel()
	var log testkit.Log
	url := stub(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for range 65 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	start(t, nil, "a", scheduler.Options{RuleFiles: []string{file(t, "r.yml", rule("Large", "up", ""))}, QueryURL: url, Logger: to(&log)})
	testkit.Eventually(t, patience, func() error {
		if !strings.Contains(log.String(), "exceeds 64 MiB") {
			return fmt.Errorf("the log does not say so: %s", log.String())
		}
		return nil
	})
}
