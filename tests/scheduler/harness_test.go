package scheduler_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// exporter serves metrics that a test sets.
type exporter struct {
	mu     sync.Mutex
	values map[string]float64
}

func (e *exporter) set(series string, value float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.values[series] = value
}

func (e *exporter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for series, value := range e.values {
		_, _ = fmt.Fprintf(w, "%s %v\n", series, value) // the scraper may be gone
	}
}

// startPrometheus starts a Prometheus that scrapes the exporter every
// second: a scrape that takes longer than its timeout ends the series.
func startPrometheus(t *testing.T) (*process.Server, *exporter) {
	t.Helper()
	path := process.Need(t, "prometheus")
	e := &exporter{values: map[string]float64{"load": 0}}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	config := file(t, "prometheus.yml", fmt.Sprintf(
		"global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs: [{job_name: test, static_configs: [{targets: [%q]}]}]\n", server.Listener.Addr()))
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(process.Port(t)))
	data := t.TempDir()
	p := process.Start(t, process.Spec{
		Path: path, Addr: addr, Data: data,
		Args: []string{"--config.file=" + config, "--storage.tsdb.path=" + data, "--web.listen-address=" + addr},
		Ready: func(ctx context.Context, addr string) error {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/-/ready", nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("/-/ready: %s", resp.Status)
			}
			return nil
		},
	})
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	t.Cleanup(func() {
		if t.Failed() {
			for _, q := range []string{"load", "up", "scrape_duration_seconds"} {
				t.Logf("%s at Prometheus: %s", q, lately(p.Addr(), q))
			}
		}
	})
	return p, e
}

// lately is what the server at addr has of a series, for a log.
func lately(addr, series string) string {
	client := http.Client{Timeout: patience}
	resp, err := client.Get("http://" + addr + "/api/v1/query?query=" + series + "[30s]")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// node is one Scheduler, with a receiver that remembers.
type node struct {
	*scheduler.Scheduler
	name     string
	channel  backend.ClusterChannel
	registry *prometheus.Registry

	mu     sync.Mutex
	alerts map[string]model.Alert // the last of each name
}

func (n *node) receive(_ context.Context, alerts ...*model.Alert) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range alerts {
		n.alerts[a.Name()] = *a
	}
	return nil
}

func (n *node) alert(name string) (model.Alert, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.alerts[name]
	return a, ok
}

// fires waits until the receiver has the alert, firing.
func (n *node) fires(t *testing.T, name string) (a model.Alert) {
	t.Helper()
	testkit.Eventually(t, patience, func() (err error) {
		var ok bool
		if a, ok = n.alert(name); !ok || a.Resolved() {
			err = fmt.Errorf("%s: %s does not fire: %v", n.name, name, a)
		}
		return err
	})
	return a
}

// join opens the node's seat on the bus.
func join(t *testing.T, bus *memory.Bus, name string, changes ...func(*backend.Config)) *node {
	t.Helper()
	n := &node{name: name, registry: prometheus.NewRegistry(), alerts: map[string]model.Alert{}}
	if bus == nil {
		return n
	}
	config := backend.Config{
		Backend: "memory", Cluster: "t", Name: name, Params: map[string]string{"bus": bus.Name()},
		Logger: quiet(), Registerer: n.registry,
	}
	for _, change := range changes {
		change(&config)
	}
	channel, err := backend.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	n.channel = channel
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := channel.Close(ctx); err != nil {
			t.Errorf("close the channel of %s: %v", name, err)
		}
	})
	return n
}

func maxPayload(n int) func(*backend.Config) { return func(c *backend.Config) { c.MaxPayload = n } }

// start starts a Scheduler on a seat of its own; without a bus it is alone.
func start(t *testing.T, bus *memory.Bus, name string, o scheduler.Options, changes ...func(*backend.Config)) *node {
	t.Helper()
	n := join(t, bus, name, changes...)
	o.Cluster, o.Name, o.Send, o.Registerer = n.channel, name, n.receive, n.registry
	if o.Logger == nil {
		o.Logger = quiet()
	}
	var err error
	if n.Scheduler, err = scheduler.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// lose makes the node vanish without a goodbye.
func lose(t *testing.T, bus *memory.Bus, n *node, others []*node) {
	t.Helper()
	for _, o := range others {
		bus.Cut(n.name, o.name, true)
	}
	n.Close()
}

// startThree starts three nodes that see each other.
func startThree(t *testing.T, o scheduler.Options) (*memory.Bus, []*node) {
	t.Helper()
	bus := newBus(t)
	var nodes []*node
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, start(t, bus, name, o))
	}
	testkit.Eventually(t, patience, func() error {
		for _, n := range nodes {
			if v := n.channel.View(); len(v.Members) != len(nodes) || v.Ready == backend.Settling {
				return fmt.Errorf("%s sees %d members, %v", n.name, len(v.Members), v.Ready)
			}
		}
		return nil
	})
	return bus, nodes
}

func newBus(t *testing.T) *memory.Bus {
	t.Helper()
	bus := memory.NewBus()
	t.Cleanup(bus.Remove)
	return bus
}

// metric is the sum of the metric's series.
func (n *node) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	for _, v := range n.series(t, name) {
		sum += v
	}
	return sum
}

// series maps the values of a counter or gauge by its last label.
func (n *node) series(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			label := ""
			if l := m.GetLabel(); len(l) > 0 {
				label = l[len(l)-1].GetValue()
			}
			all[label] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

const evaluations = "prometheus_rule_evaluations_total"

// evaluated lists the nodes that evaluated since the counts were taken.
func evaluated(t *testing.T, nodes []*node, since map[string]float64) (names []string) {
	t.Helper()
	for _, n := range nodes {
		if n.metric(t, evaluations) > since[n.name] {
			names = append(names, n.name)
		}
	}
	return names
}

func counts(t *testing.T, nodes []*node) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, n := range nodes {
		all[n.name] = n.metric(t, evaluations)
	}
	return all
}

// transitions lists the node's history of the rule, as from>to.
func (n *node) transitions(rule string) (all []string) {
	for _, tr := range n.History() {
		if tr.Rule == rule {
			all = append(all, tr.From+">"+tr.To)
		}
	}
	return all
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func to(log *testkit.Log) *slog.Logger { return slog.New(slog.NewTextHandler(log, nil)) }

func file(t *testing.T, name, content string) string {
	t.Helper()
	return rewrite(t, filepath.Join(t.TempDir(), name), content)
}

func rewrite(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rule is a group of one rule, evaluated five times a second.
func rule(name, expr, more string) string {
	return fmt.Sprintf("groups: [{name: %[1]s, interval: 200ms, rules: [{alert: %[1]s, expr: %[2]q%[3]s}]}]\n", name, expr, more)
}

// groups is n groups g0, g1, ... of one rule each.
func groups(n int, expr string) string {
	text := "groups:\n"
	for i := range n {
		text += fmt.Sprintf("- {name: g%[1]d, interval: 200ms, rules: [{alert: g%[1]d, expr: %[2]q}]}\n", i, expr)
	}
	return text
}

// stub is an API whose answers a test decides.
func stub(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// vectorOf answers a query by one sample, with the label.
func vectorOf(w http.ResponseWriter, label, value string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{%q:%q},"value":[%d,"1"]}]}}`, label, value, time.Now().Unix())
}

func body(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lasting fails if check fails once within d.
func lasting(t *testing.T, d time.Duration, check func() error) {
	t.Helper()
	timer, tick := time.NewTimer(d), time.NewTicker(20*time.Millisecond)
	defer timer.Stop()
	defer tick.Stop()
	for {
		if err := check(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-timer.C:
			return
		}
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
