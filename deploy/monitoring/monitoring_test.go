package monitoring_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rule is one alert.
type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	unmarshal(t, "rules.yml", yaml.Unmarshal, &file)
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%d rules", len(all))
	}
	return all
}

func unmarshal(t *testing.T, path string, by func([]byte, any) error, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = by(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestRulesByPromtool checks the rules, and runs their own tests.
func TestRulesByPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CCTEST_REQUIRE_ALERTMANAGER") == "1" {
			t.Fatal("promtool is not installed")
		}
		t.Skip("promtool is not installed")
	}
	for _, args := range [][]string{{"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestEveryRuleIsTested: there is a case in which it fires, and one in which it
// does not.
func TestEveryRuleIsTested(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Alertname string
				Expected  []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	unmarshal(t, "rules_test.yml", yaml.Unmarshal, &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			fires[c.Alertname] = fires[c.Alertname] || len(c.Expected) > 0
			quiet[c.Alertname] = quiet[c.Alertname] || len(c.Expected) == 0
		}
	}
	for _, r := range rules(t) {
		if !fires[r.Alert] || !quiet[r.Alert] {
			t.Errorf("%s: tested to fire: %v, not to fire: %v", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
	}
}

var heading = regexp.MustCompile(`(?m)^#+ (.+)$`)

// anchors returns where links into a page lead, as GitHub names them.
func anchors(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, h := range heading.FindAllStringSubmatch(string(text), -1) {
		all = append(all, strings.ReplaceAll(strings.ToLower(h[1]), " ", "-"))
	}
	return all
}

// TestRunbook: each alert leads to its own section, and each section belongs to
// an alert and says all that it should.
func TestRunbook(t *testing.T) {
	const base, page = "https://github.com/clusterchannel/clusterchannel/blob/main/", "docs/runbook.md"
	path := filepath.Join("..", "..", page)
	have := anchors(t, path)
	var want []string
	for _, r := range rules(t) {
		url := r.Annotations["runbook_url"]
		if anchor, ok := strings.CutPrefix(url, base+page+"#"); !ok || !slices.Contains(have, anchor) {
			t.Errorf("%s: %q leads nowhere", r.Alert, url)
		}
		if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks severity, summary or description", r.Alert)
		}
		want = append(want, strings.ToLower(r.Alert))
	}
	for _, anchor := range have {
		if strings.HasPrefix(anchor, "clusterchannel") && !slices.Contains(want, anchor) {
			t.Errorf("the section %s belongs to no alert", anchor)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		for _, part := range []string{"**Means**", "**Users see**", "**Look**", "**Fix**"} {
			if !strings.Contains(body, part) {
				t.Errorf("the section %s lacks %s", name, part)
			}
		}
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#]*)(?:#([^)]*))?\)`).FindAllStringSubmatch(string(text), -1) {
		if link[1] == "" && !slices.Contains(have, link[2]) {
			t.Errorf("the link to #%s leads nowhere", link[2])
		}
		if _, err := os.Stat(filepath.Join("..", "..", "docs", link[1])); err != nil {
			t.Errorf("a link leads nowhere: %v", err)
		}
	}
}

// metricsOf returns the metrics in an expression.
func metricsOf(t *testing.T, expr string) []string {
	t.Helper()
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	var names []string
	for _, selector := range parser.ExtractSelectors(tree) {
		for _, m := range selector {
			if m.Name == model.MetricNameLabel {
				names = append(names, m.Value)
			}
		}
	}
	if len(names) == 0 {
		t.Errorf("%s asks for no metric", expr)
	}
	return names
}

// dashboardQueries returns the expressions of the dashboard, its variables
// filled in.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	unmarshal(t, "dashboard.json", json.Unmarshal, &dashboard)
	fill := strings.NewReplacer("$cluster", ".+", "$__rate_interval", "5m")
	var all []string
	seen := map[string]string{}
	for _, p := range dashboard.Panels {
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				place := fmt.Sprint(x, ",", y)
				if other := seen[place]; other != "" {
					t.Fatalf("panels %q and %q overlap", other, p.Title)
				}
				seen[place] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, fill.Replace(target.Expr))
		}
	}
	return all
}

// nine are the metrics that Grafana documents for high availability.
var nine = []string{
	"alertmanager_cluster_messages_received_total", "alertmanager_cluster_messages_received_size_total",
	"alertmanager_cluster_messages_sent_total", "alertmanager_cluster_messages_sent_size_total",
	"alertmanager_cluster_messages_publish_failures_total", "alertmanager_cluster_members", "alertmanager_peer_position",
	"alertmanager_cluster_pings_seconds", "alertmanager_cluster_pings_failures_total",
}

// TestMetricsExist: the metrics of rules and dashboard are in a real scrape,
// and the dashboard shows all the metrics that operators of clusters know.
func TestMetricsExist(t *testing.T) {
	have := scrape(t)
	asked := map[string]bool{}
	ask := func(where, expr string) {
		for _, name := range metricsOf(t, expr) {
			family := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, cut := strings.CutSuffix(name, suffix); cut && have[base] == "histogram" {
					family = base
				}
			}
			asked[family] = true
			if have[family] == "" {
				t.Errorf("%s: there is no metric %s", where, name)
			}
			if (have[family] == "histogram") != (family != name) {
				t.Errorf("%s: %s is a %s", where, name, have[family])
			}
		}
	}
	for _, expr := range dashboardQueries(t) {
		ask("dashboard", expr)
	}
	for _, name := range nine {
		if !asked[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
	for name := range have {
		if strings.HasPrefix(name, "clusterchannel_") && !asked[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
	for _, r := range rules(t) {
		ask(r.Alert, r.Expr)
	}
}
