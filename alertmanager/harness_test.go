package alertmanager_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	groupWait   = 200 * time.Millisecond
	peerTimeout = time.Second
	patience    = 15 * time.Second
)

// sink is a webhook receiver that remembers what it was sent.
type sink struct {
	url string

	mu         sync.Mutex
	deliveries []delivery
}

// delivery is one alert in one notification, and who sent it.
type delivery struct{ alert, from, status string }

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ExternalURL string
		Alerts      []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range m.Alerts {
		s.deliveries = append(s.deliveries, delivery{a.Labels["alertname"], m.ExternalURL, a.Status})
	}
}

// from lists the senders of the alert, once for each delivery.
func (s *sink) from(alert string) (senders []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.alert == alert {
			senders = append(senders, d.from)
		}
	}
	return senders
}

// statuses lists the alert's status in each delivery.
func (s *sink) statuses(alert string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.alert == alert {
			all = append(all, d.status)
		}
	}
	return all
}

// waitFor waits for the first delivery of the alert.
func (s *sink) waitFor(t *testing.T, alert string) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if len(s.from(alert)) == 0 {
			return fmt.Errorf("%s was not delivered", alert)
		}
		return nil
	})
}

// expect fails unless the alert was delivered by exactly these senders.
func (s *sink) expect(t *testing.T, alert string, senders ...string) {
	t.Helper()
	if got := s.from(alert); !slices.Equal(got, senders) {
		t.Errorf("%s was delivered by %q, want %q", alert, got, senders)
	}
}

func config(webhook string) string {
	return fmt.Sprintf(`route:
  receiver: sink
  group_by: [alertname]
  group_wait: %v
  group_interval: 1m
  repeat_interval: 4h
receivers:
  - name: sink
    webhook_configs:
      - url: %s
        send_resolved: false
`, groupWait, webhook)
}

func writeFile(t *testing.T, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func configFile(t *testing.T, content string) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), "alertmanager.yml"), content)
}

// node is one instance with its HTTP server.
type node struct {
	name    string
	url     string // of the API
	app     *alertmanager.App
	channel backend.ClusterChannel
}

// external is the node's external URL in notifications.
func (n *node) external() string { return "http://" + n.name + ".test" }

func newBus(t *testing.T) *memory.Bus {
	t.Helper()
	bus := memory.NewBus()
	t.Cleanup(bus.Remove)
	return bus
}

// start starts an instance; without a bus it is alone.
func start(t *testing.T, name string, bus *memory.Bus, timing backend.Timing, opts alertmanager.Options) *node {
	t.Helper()
	n := &node{name: name}
	registry := prometheus.NewRegistry()
	logger := slog.New(slog.DiscardHandler)
	if bus != nil {
		channel, err := backend.Open(t.Context(), backend.Config{
			Backend: "memory", Cluster: "t", Name: name, Params: map[string]string{"bus": bus.Name()},
			Timing: timing, Logger: logger, Registerer: registry,
		})
		if err != nil {
			t.Fatal(err)
		}
		n.channel = channel
		t.Cleanup(func() { n.leave(t) })
		opts.Cluster = channel
	}
	external, err := url.Parse(n.external())
	if err != nil {
		t.Fatal(err)
	}
	opts.ExternalURL, opts.PeerTimeout, opts.Logger = external, cmp.Or(opts.PeerTimeout, peerTimeout), logger
	n.app, err = alertmanager.New(opts, registry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.app.Close)
	server := httptest.NewServer(n.app.Handler())
	t.Cleanup(server.Close)
	n.url = server.URL
	return n
}

func (n *node) leave(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.channel.Close(ctx); err != nil {
		t.Errorf("close the channel of %s: %v", n.name, err)
	}
}

// startThree starts three instances that agree on their positions.
func startThree(t *testing.T) ([]*node, *sink) {
	t.Helper()
	s, bus := newSink(t), newBus(t)
	file := configFile(t, config(s.url))
	var nodes []*node
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, start(t, name, bus, backend.Timing{}, alertmanager.Options{ConfigFile: file}))
	}
	agree(t, nodes)
	return nodes, s
}

// agree waits until the nodes see each other, nobody else, and are settled.
func agree(t *testing.T, nodes []*node) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		for i, n := range nodes {
			v := n.channel.View()
			if len(v.Members) != len(nodes) || v.Position != i || v.Ready == backend.Settling {
				return fmt.Errorf("%s: position %d of %d members, %v", n.name, v.Position, len(v.Members), v.Ready)
			}
		}
		return nil
	})
}

// call calls the node and returns status and body.
func (n *node) call(t *testing.T, method, path string, body any) (int, string) {
	t.Helper()
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, n.url+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// get returns the body of a successful GET.
func (n *node) get(t *testing.T, path string) string {
	t.Helper()
	code, body := n.call(t, http.MethodGet, path, nil)
	if code != http.StatusOK {
		t.Fatalf("%s: GET %s: %d: %s", n.name, path, code, body)
	}
	return body
}

// metric is the value of the node's series of that name and those labels.
func (n *node) metric(t *testing.T, name, labels string) float64 {
	t.Helper()
	prefix := name + "{" + labels + "} "
	for line := range strings.Lines(n.get(t, "/metrics")) {
		if text, ok := strings.CutPrefix(line, prefix); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("%s: no series %s{%s}", n.name, name, labels)
	return 0
}

func (n *node) post(t *testing.T, path string, body any) string {
	t.Helper()
	code, answer := n.call(t, http.MethodPost, path, body)
	if code != http.StatusOK {
		t.Fatalf("%s: POST %s: %d: %s", n.name, path, code, answer)
	}
	return answer
}

// fire posts alerts of these names to all of nodes.
func fire(t *testing.T, nodes []*node, names ...string) {
	t.Helper()
	var alerts []map[string]any
	for _, name := range names {
		alerts = append(alerts, map[string]any{"labels": map[string]string{"alertname": name}})
	}
	for _, n := range nodes {
		n.post(t, "/api/v2/alerts", alerts)
	}
}

// silenceOf makes a silence for the alert and returns its id.
func (n *node) silenceOf(t *testing.T, alert string) string {
	t.Helper()
	now := time.Now()
	answer := n.post(t, "/api/v2/silences", map[string]any{
		"matchers": []map[string]any{{"name": "alertname", "value": alert, "isRegex": false, "isEqual": true}},
		"startsAt": now, "endsAt": now.Add(time.Hour), "createdBy": "test", "comment": "test",
	})
	var made struct{ SilenceID string }
	if err := json.Unmarshal([]byte(answer), &made); err != nil {
		t.Fatal(err)
	}
	return made.SilenceID
}

// silenceBecomes waits until the node has the silence in that state.
func (n *node) silenceBecomes(t *testing.T, id, state string) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		code, body := n.call(t, http.MethodGet, "/api/v2/silence/"+id, nil)
		if code != http.StatusOK || !strings.Contains(body, fmt.Sprintf(`"state":%q`, state)) {
			return fmt.Errorf("%s: silence %s is not %s: %d: %s", n.name, id, state, code, body)
		}
		return nil
	})
}

// turnsOver waits until each of the positions has had its turn to send.
func turnsOver(t *testing.T, positions int) {
	t.Helper()
	timer := time.NewTimer(groupWait + time.Duration(positions-1)*peerTimeout + 700*time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
