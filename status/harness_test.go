package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/status"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// words is a state: what was said, of which the longest wins.
type words struct {
	mu   sync.Mutex
	text string
}

func (w *words) MarshalBinary() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []byte(w.text), nil
}

func (w *words) Merge(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(b) > len(w.text) {
		w.text = string(b)
	}
	return nil
}

// node is an open channel with one state.
type node struct {
	backend.ClusterChannel
	registry *prometheus.Registry
	channel  backend.Channel
	state    *words
}

// say changes the state, and tells the others.
func (n *node) say(text string) {
	n.state.mu.Lock()
	n.state.text = text
	n.state.mu.Unlock()
	n.channel.Broadcast([]byte(text))
}

// open opens a node on bus.
func open(t *testing.T, bus *memory.Bus, name string) *node {
	t.Helper()
	n := &node{registry: prometheus.NewRegistry(), state: &words{}}
	var err error
	n.ClusterChannel, err = backend.Open(t.Context(), backend.Config{
		Backend: "memory", Cluster: "alerts", Name: name, Params: map[string]string{"bus": bus.Name()},
		Timing: backend.Timing{Sync: time.Second}, Registerer: n.registry, Logger: slog.New(slog.DiscardHandler), Meta: map[string]string{"zone": "eu-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.leave(t) })
	if n.channel, err = n.AddState("silences", n.state, nil); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) leave(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
}

// serve serves the page of a node, and ends both with the test.
func serve(t *testing.T, o status.Options) (*status.Page, string) {
	t.Helper()
	o.Interval = 100 * time.Millisecond
	page := status.New(o)
	server := httptest.NewServer(page)
	t.Cleanup(func() {
		page.Close()
		server.Close()
	})
	return page, server.URL
}

// ask sends a request with an Accept header and returns the answer.
func ask(t *testing.T, url, accept string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(b)
}

// look reads the JSON.
func look(t *testing.T, url string) (s status.Snapshot) {
	t.Helper()
	response, body := ask(t, url, "application/json")
	if kind := response.Header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("Content-Type: %q", kind)
	}
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return s
}

// hostile is a channel whose every text is an attack.
type hostile struct{ text string }

func (h hostile) View() backend.View {
	other := backend.Member{Name: h.text, Instance: "other", Addr: h.text, Meta: map[string]string{h.text: h.text}}
	return backend.View{
		Members: []backend.Member{{Name: h.text, Instance: h.text}, other}, Status: backend.Detached, Since: time.Now(), Err: fmt.Errorf("lost: %s", h.text),
	}
}

func (h hostile) Inspect() backend.Inspection {
	return backend.Inspection{
		Backend: h.text, Cluster: h.text, States: []backend.StateInfo{{Key: h.text}},
		Said: map[string]backend.Said{"other": {What: "update", Key: h.text, At: time.Now()}},
	}
}

func (h hostile) AddState(string, backend.State, *backend.StateOptions) (backend.Channel, error) {
	return nil, backend.ErrClosed
}
func (h hostile) Members() []backend.Member { return h.View().Members }
func (h hostile) Position() int             { return 0 }
func (h hostile) Watch(ctx context.Context) iter.Seq[backend.View] {
	return func(yield func(backend.View) bool) {
		if yield(h.View()) {
			<-ctx.Done()
		}
	}
}
func (h hostile) WaitReady(context.Context) error { return nil }
func (h hostile) Close(context.Context) error     { return nil }

var _ backend.Inspector = hostile{}
