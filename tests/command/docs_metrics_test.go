package command_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/once"
	"github.com/clusterchannel/clusterchannel/persist"
	"github.com/clusterchannel/clusterchannel/scheduler"
)

// refuser is a state that accepts nothing.
type refuser struct{}

func (refuser) MarshalBinary() ([]byte, error) { return []byte("junk"), nil }
func (refuser) Merge([]byte) error             { return errors.New("it takes nothing") }

// opened returns the registry of a node with all its parts, each of which has
// done something and failed at something, so that vectors have series.
func opened(t *testing.T) *prometheus.Registry {
	t.Helper()
	registry, quiet := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	bus := memory.NewBus()
	seat := func(name string, r prometheus.Registerer) (backend.ClusterChannel, backend.Channel) {
		ch, err := backend.Open(t.Context(), backend.Config{
			Backend: "memory", Cluster: "docs", Name: name, MaxPayload: 4096, Registerer: r, Logger: quiet,
			Params: map[string]string{"bus": bus.Name()},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closes(t, ch.Close) })
		state, err := ch.AddState("refuser", refuser{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return ch, state
	}
	_, other := seat("b", nil)
	cluster, state := seat("a", registry)
	if err := state.TryBroadcast(make([]byte, 8192)); !errors.Is(err, backend.ErrTooLarge) {
		t.Fatalf("above max_payload: %v", err)
	}
	other.Broadcast([]byte("x"))
	jobs, err := once.New(cluster, &once.Options{Registerer: registry, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, jobs.Close) })

	dsn := "sqlite:" + filepath.Join(t.TempDir(), "state.db")
	stored := func(r prometheus.Registerer) *persist.Store {
		s, err := persist.Open(persist.Options{DSN: dsn, Cluster: "docs", Interval: 50 * time.Millisecond, Logger: quiet, Registerer: r})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Keep(t.Context(), "refuser", refuser{}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	closes(t, stored(nil).Close) // leaves a row that the next one cannot take
	store := stored(registry)
	t.Cleanup(func() { closes(t, store.Close) })

	hook := newSink(t)
	app, err := alertmanager.New(alertmanager.Options{
		ConfigFile: file(t, "alertmanager.yml", hook.config()), StoragePath: t.TempDir(), Cluster: cluster, PeerTimeout: time.Second, Logger: quiet,
	}, registry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(app.Close)
	api := httptest.NewServer(app.Handler())
	t.Cleanup(api.Close)
	post(t, api.URL+"/api/v2/silences", fmt.Sprintf(`{"matchers":[{"name":"alertname","value":"quiet","isRegex":false}],"startsAt":%q,"endsAt":%q,"createdBy":"t","comment":"c"}`,
		time.Now().UTC().Format(time.RFC3339), time.Now().UTC().Add(time.Hour).Format(time.RFC3339)))
	post(t, api.URL+"/api/v2/alerts", `[{"labels":{"alertname":"a"}},{"labels":{"alertname":"quiet"}}]`)

	answer, err := http.Get(api.URL + "/-/healthy")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close() // that it was answered is what counts

	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-r.Context().Done():
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`)) // the client may be gone
	}))
	t.Cleanup(slow.Close)
	rules, err := scheduler.New(scheduler.Options{
		RuleFiles: []string{file(t, "rules.yml", "groups:\n- name: slow\n  interval: 20ms\n  rules:\n  - alert: a\n    expr: up == 0\n")},
		QueryURL:  slow.URL, HTTPClient: client, Cluster: cluster, Send: app.Receive, Logger: quiet, Registerer: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rules.Close)
	return registry
}

func closes(t *testing.T, closeIt func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := closeIt(ctx); err != nil {
		t.Error(err)
	}
}

// description is the text of a prometheus.Desc, which shows its name and labels
// in no other way.
var description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: .*, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// labelsOf returns the labels of all that is registered, whether it has series
// or not.
func labelsOf(t *testing.T, registry *prometheus.Registry) map[string]string {
	t.Helper()
	descs, all := make(chan *prometheus.Desc), map[string]string{}
	go func() {
		defer close(descs)
		registry.Describe(descs)
	}()
	for d := range descs {
		found := description.FindStringSubmatch(d.String())
		if found == nil {
			t.Errorf("%s cannot be read", d)
			continue
		}
		labels := map[string]bool{}
		for _, part := range found[2:] {
			for item := range strings.SplitSeq(part, ",") {
				if name, _, _ := strings.Cut(item, "="); name != "" {
					labels[name] = true
				}
			}
		}
		all[found[1]] = strings.Join(slices.Sorted(maps.Keys(labels)), ", ")
	}
	return all
}

// theNine are the metrics of Grafana's guide to high availability.
var theNine = []string{
	"alertmanager_cluster_members",
	"alertmanager_cluster_messages_publish_failures_total",
	"alertmanager_cluster_messages_received_size_total",
	"alertmanager_cluster_messages_received_total",
	"alertmanager_cluster_messages_sent_size_total",
	"alertmanager_cluster_messages_sent_total",
	"alertmanager_cluster_pings_failures_total",
	"alertmanager_cluster_pings_seconds",
	"alertmanager_peer_position",
}

// tabled returns the type and the labels of each metric of docs/metrics.md, and
// which of them it counts among the nine.
func tabled(t *testing.T) (types, labels map[string]string, nine []string) {
	t.Helper()
	types, labels = map[string]string{}, map[string]string{}
	for line := range strings.Lines(document(t, "metrics.md")) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 5 || cells[4] == "" {
			t.Errorf("not a metric with its meaning: %s", line)
			continue
		}
		name := strings.Trim(cells[0], "`")
		if _, twice := types[name]; twice {
			t.Errorf("%s stands there twice", name)
		}
		types[name], labels[name] = cells[1], strings.ReplaceAll(cells[2], "`", "")
		if cells[3] == "yes" {
			nine = append(nine, name)
		}
	}
	slices.Sort(nine)
	return types, labels, nine
}

// byTransport are those that only nodes on some transports have.
var byTransport = []string{"clusterchannel_pings_failing"}

// TestMetricsOfTheDocuments compares the table with the registry of a node. A
// vector that can have no series here has the type "none".
func TestMetricsOfTheDocuments(t *testing.T) {
	t.Parallel()
	types, labels, nine := tabled(t)
	if !slices.Equal(nine, theNine) {
		t.Errorf("the nine are %q, want %q", nine, theNine)
	}
	registry := opened(t)
	registered := labelsOf(t, registry)
	for _, name := range slices.Sorted(maps.Keys(registered)) {
		if have, ok := labels[name]; !ok {
			t.Errorf("%s lacks", name)
		} else if have != registered[name] {
			t.Errorf("%s has the labels %q, want %q", name, have, registered[name])
		}
	}
	for name := range labels {
		if _, ok := registered[name]; !ok {
			t.Errorf("%s is not registered", name)
		}
	}
	gathered := map[string]string{}
	testkit.Eventually(t, patience, func() error {
		families, err := registry.Gather()
		if err != nil {
			return err
		}
		for _, f := range families {
			gathered[f.GetName()] = strings.ToLower(f.GetType().String())
		}
		for _, name := range slices.Sorted(maps.Keys(types)) {
			if gathered[name] == "" && types[name] != "none" && !slices.Contains(byTransport, name) {
				return fmt.Errorf("%s has no series", name)
			}
		}
		return nil
	})
	for name, kind := range gathered {
		if types[name] != kind {
			t.Errorf("%s is a %q, want %q", name, types[name], kind)
		}
	}
}

// TestScrapeHoldsNoMore looks at the command itself, whose registry has what it
// wires up.
func TestScrapeHoldsNoMore(t *testing.T) {
	t.Parallel()
	types, _, _ := tabled(t)
	_, url := instance(t, "--config.file="+file(t, "am.yml", config("nobody")), "--cluster.listen-address=127.0.0.1:0",
		"--storage.database=sqlite:"+filepath.Join(t.TempDir(), "state.db"))
	text, err := get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(m[1], "go_") || strings.HasPrefix(m[1], "process_") {
			continue
		}
		seen++
		if types[m[1]] != m[2] {
			t.Errorf("%s is a %q, want %q", m[1], types[m[1]], m[2])
		}
	}
	if seen < 50 {
		t.Errorf("%d metrics are scraped", seen)
	}
}
