package command_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// target is what a scrape adds to each series: labels of Prometheus's own, and
// those of the Prometheus Operator.
var target = map[string]string{
	"job": "alertmanager-main", "instance": "10.0.0.5:9093", "namespace": "monitoring", "service": "alertmanager-main", "pod": "alertmanager-main-0",
	"container": "alertmanager", "endpoint": "web", "node": "worker-1", "cluster": "east", "prometheus": "monitoring/k8s", "prometheus_replica": "k8s-0",
}

// mixinExpressions returns those of Alertmanager's own mixin: the alerts, which
// kube-prometheus ships as rules, and the dashboard. fill sets its configuration.
// Source: doc/alertmanager-mixin of prometheus/alertmanager, in the version of
// go.mod.
func mixinExpressions(t *testing.T, fill map[string]string) []string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/alertmanager").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range []string{"alerts.libsonnet", "dashboards/overview.libsonnet"} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "doc", "alertmanager-mixin", name))
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile(`(?s)\|\|\|\n(.*?)\|\|\|`)
		texts := blocks.FindAllStringSubmatch(string(text), -1)
		texts = append(texts, regexp.MustCompile(`(?m)^\s+'(\w+\(.*\))' %`).FindAllStringSubmatch(blocks.ReplaceAllString(string(text), ""), -1)...)
		for _, found := range texts {
			all = append(all, regexp.MustCompile(`%\((\w+)\)s`).ReplaceAllStringFunc(found[1], func(key string) string {
				value, ok := fill[strings.TrimSuffix(strings.TrimPrefix(key, "%("), ")s")]
				if !ok {
					t.Fatalf("%s: %s is not known", name, key)
				}
				return value
			}))
		}
	}
	if len(all) < 15 {
		t.Fatalf("the mixin has only %q", all)
	}
	return all
}

// scraped returns all series of an instance as Prometheus stores them.
func scraped(t *testing.T, url string) (all []map[string]string) {
	t.Helper()
	text, err := get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	reader := expfmt.NewTextParser(model.UTF8Validation)
	families, err := reader.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string, given map[string]string) {
		series := maps.Clone(given)
		series[model.MetricNameLabel] = name
		for label, value := range target {
			if series[label] != "" { // Prometheus renames it, and no query finds it
				t.Errorf("%s has the label %s itself", name, label)
			}
			series[label] = value
		}
		all = append(all, series)
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			given := map[string]string{}
			for _, pair := range m.GetLabel() {
				given[pair.GetName()] = pair.GetValue()
			}
			if m.GetHistogram() == nil {
				add(name, given)
				continue
			}
			add(name+"_sum", given)
			add(name+"_count", given)
			given["le"] = "+Inf"
			add(name+"_bucket", given)
		}
	}
	add("up", map[string]string{})
	return all
}

// Every selector of every expression of the mixin finds a series, and the series
// have the labels by which the expressions group.
func TestExpressionsOfTheMixin(t *testing.T) {
	t.Parallel()
	hook := newSink(t)
	p, url := instance(t, "--config.file="+file(t, "am.yml", hook.config()), "--storage.path=", "--cluster.listen-address=127.0.0.1:0")
	post(t, url+"/api/v2/alerts", `[{"labels":{"alertname":"DiskFull"}}]`)
	p.eventually(t, func() error {
		if !slices.Contains(hook.sent(), "DiskFull") {
			return fmt.Errorf("it was not sent")
		}
		return nil
	})
	series := scraped(t, url)
	for source, fill := range map[string]map[string]string{
		"the mixin": {"alertmanagerSelector": `job=~"alertmanager.*"`, "alertmanagerClusterLabels": "job", "alertmanagerNameLabels": "instance"},
		"kube-prometheus": {
			"alertmanagerSelector": `job="alertmanager-main",namespace="monitoring"`, "alertmanagerClusterLabels": "namespace,service", "alertmanagerNameLabels": "pod",
		},
	} {
		fill["alertmanagerCriticalIntegrationsRegEx"] = ".*"
		fill["amQuerySelector"] = `namespace=~"monitoring",service=~"alertmanager-main"`
		variables := strings.NewReplacer("$__rate_interval", "5m", "$integration", "webhook", "integration!~`.*`", "integration!~`nothing`")
		for _, text := range mixinExpressions(t, fill) {
			text = variables.Replace(text)
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
			if err != nil {
				t.Fatalf("%s: %s: %v", source, text, err)
			}
			grouping := groupingOf(expr)
			for _, selector := range parser.ExtractSelectors(expr) {
				if lacks := missing(series, selector, grouping); lacks != "" {
					t.Errorf("%s: %v: %s, for\n%s", source, selector, lacks, text)
				}
			}
		}
	}
}

// groupingOf returns the labels by which expr aggregates.
func groupingOf(expr parser.Expr) (all []string) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok && !a.Without {
			all = append(all, a.Grouping...)
		}
		return nil
	})
	return all
}

// missing says what the series lack that selector finds; nothing if it finds one
// with all labels of grouping, among those of one metric at least.
func missing(series []map[string]string, selector []*labels.Matcher, grouping []string) string {
	for _, s := range series {
		if slices.ContainsFunc(selector, func(m *labels.Matcher) bool { return !m.Matches(s[m.Name]) }) {
			continue
		}
		for _, label := range grouping {
			if label == "integration" && !strings.Contains(s[model.MetricNameLabel], "notification") || label == "le" && s["le"] == "" {
				continue // another part of the expression has it
			}
			if s[label] == "" {
				return "no label " + label
			}
		}
		return ""
	}
	return "no series"
}
