// Package status_test looks at the page of package status in a browser.
package status_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
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
	state    *words
	channel  backend.Channel
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

// say changes the state and broadcasts it.
func (n *node) say(t *testing.T, text string) {
	t.Helper()
	if err := n.state.Merge([]byte(text)); err != nil {
		t.Fatal(err)
	}
	n.channel.Broadcast([]byte(text))
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
func serve(t *testing.T, o status.Options) (url string) {
	t.Helper()
	o.Interval = 100 * time.Millisecond
	page := status.New(o)
	server := httptest.NewServer(page)
	t.Cleanup(func() {
		page.Close()
		server.Close()
	})
	return server.URL
}

// hostile is a channel whose every text is an attack. The page calls none of the
// methods that it lacks.
type hostile struct {
	backend.ClusterChannel
	text string
}

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

func (h hostile) Watch(ctx context.Context) iter.Seq[backend.View] {
	return func(yield func(backend.View) bool) {
		if yield(h.View()) {
			<-ctx.Done()
		}
	}
}

var _ backend.Inspector = hostile{}
