package alertmanager_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
)

// Names are any UTF-8, wherever a name can stand, and on all nodes.
func TestNamesAreUTF8(t *testing.T) {
	t.Parallel()
	s, bus := newSink(t), newBus(t)
	content := strings.Replace(config(s.url), "  group_by: [alertname]\n", `  group_by: [alertname, "straße.nr"]
  routes:
    - receiver: sink
      matchers: ['"k8s.io/name"=~"web.*"']
`, 1) + `inhibit_rules:
  - source_matchers: ['"rôle"="source"']
    target_matchers: ['"rôle"="target"']
    equal: ["straße.nr"]
templates: [names.tmpl]
`
	file := configFile(t, content)
	writeFile(t, filepath.Join(filepath.Dir(file), "names.tmpl"), `{{ define "x" }}{{ index .CommonLabels "straße.nr" }}{{ end }}`)
	opts := alertmanager.Options{ConfigFile: file}
	nodes := []*node{start(t, "a", bus, backend.Timing{}, opts), start(t, "b", bus, backend.Timing{}, opts)}
	agree(t, nodes)

	labels := func(name string, more ...string) map[string]string {
		all := map[string]string{"alertname": name, "straße.nr": "7"}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	now := time.Now()
	var made struct{ SilenceID string }
	if err := json.Unmarshal([]byte(nodes[0].post(t, "/api/v2/silences", map[string]any{
		"matchers": []map[string]any{{"name": "日本", "value": "ja", "isRegex": false, "isEqual": true}},
		"startsAt": now, "endsAt": now.Add(time.Hour), "createdBy": "test", "comment": "test",
	})), &made); err != nil {
		t.Fatal(err)
	}
	nodes[1].silenceBecomes(t, made.SilenceID, "active")

	for _, n := range nodes {
		n.post(t, "/api/v2/alerts", []map[string]any{
			{"labels": labels("Source", "rôle", "source")},
			{"labels": labels("Silenced", "日本", "ja")},
			{"labels": labels("Sent", "k8s.io/name", "web-1"), "annotations": map[string]string{"zusammenfassung.für": "alle"}},
		})
		if err := n.app.Receive(t.Context(), &model.Alert{Labels: model.LabelSet{"alertname": "Inhibited", "straße.nr": "7", "rôle": "target"}}); err != nil {
			t.Errorf("%s: Receive: %v", n.name, err)
		}
	}
	s.waitFor(t, "Sent")
	turnsOver(t, len(nodes))
	s.expect(t, "Sent", nodes[0].external())
	s.expect(t, "Inhibited")
	s.expect(t, "Silenced")

	filter := url.Values{"filter": {`"k8s.io/name"="web-1"`}}.Encode()
	if body := nodes[1].get(t, "/api/v2/alerts?"+filter); !strings.Contains(body, "zusammenfassung.für") {
		t.Errorf("the filter finds no alert: %s", body)
	}
	filter = url.Values{"filter": {`"日本"="ja"`}}.Encode()
	if body := nodes[1].get(t, "/api/v2/silences?"+filter); !strings.Contains(body, made.SilenceID) {
		t.Errorf("the filter finds no silence: %s", body)
	}
}

func TestFeatures(t *testing.T) {
	t.Parallel()
	sound := configFile(t, config("http://127.0.0.1:1/"))
	for given, words := range map[string][]string{
		"nonsense":                      {"features", "nonsense"},
		"classic-mode,utf8-strict-mode": {"features", "classic"},
		"classic-mode":                  {"features", "classic-mode", "default"}, // this process is in the default mode
	} {
		t.Run(given, func(t *testing.T) {
			start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: sound})
			refused(t, alertmanager.Options{ConfigFile: sound, Features: given}, words...)
		})
	}
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: sound, Features: "receiver-name-in-metrics,alert-names-in-metrics"})
	if metrics := n.get(t, "/metrics"); !strings.Contains(metrics, `receiver_name="sink"`) {
		t.Errorf("no metric has the receiver's name:\n%s", metrics)
	}
}

// The mode of names is set per process, so each mode is tested in its own
// process.
func TestModesOfNames(t *testing.T) {
	if mode := os.Getenv("TEST_MODE_OF_NAMES"); mode != "" {
		namesInMode(t, mode)
		return
	}
	t.Parallel()
	for _, mode := range []string{"classic-mode", "utf8-strict-mode"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestModesOfNames$")
		cmd.Env = append(os.Environ(), "TEST_MODE_OF_NAMES="+mode)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
	}
}

// namesInMode runs in its own process. Only classic mode refuses names, and
// only strict mode refuses matchers that need the classic parser.
func namesInMode(t *testing.T, mode string) {
	t.Helper()
	sound := config("http://127.0.0.1:1/")
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: configFile(t, sound), Features: mode})
	want := http.StatusOK
	if mode == "classic-mode" {
		want = http.StatusBadRequest
	}
	if code, body := n.call(t, http.MethodPost, "/api/v2/alerts", []map[string]any{{"labels": map[string]string{"a.b": "c"}}}); code != want {
		t.Errorf("a name with a dot is answered %d, want %d: %s", code, want, body)
	}
	file := configFile(t, sound+"inhibit_rules: [{source_matchers: ['foo=~[a-z]+'], target_matchers: ['foo=']}]\n")
	err := alertmanager.Check(alertmanager.Options{ConfigFile: file, Features: mode})
	if strict := mode == "utf8-strict-mode"; strict != errors.Is(err, backend.ErrConfig) {
		t.Errorf("a matcher that needs the classic parser: %v", err)
	}
}

// The log of events begins with the start of the instance and ends with its stop.
func TestLogOfEvents(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "events")
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{
		ConfigFile: configFile(t, config("http://127.0.0.1:1/")+fmt.Sprintf("event_recorder: {file_outputs: [{path: %q}]}\n", log)),
		Features:   "event-recorder",
	})
	fire(t, []*node{n}, "DiskFull")
	n.app.Close()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if first, last := lines[0], lines[len(lines)-1]; !strings.Contains(first, "alertmanagerStartupEvent") || !strings.Contains(first, alertmanager.Version) ||
		!strings.Contains(last, "alertmanagerShutdownEvent") || !strings.Contains(string(text), "DiskFull") {
		t.Errorf("the events are\n%s", text)
	}
}
