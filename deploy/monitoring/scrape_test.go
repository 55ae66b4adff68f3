package monitoring_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/once"
	"github.com/clusterchannel/clusterchannel/persist"
	"github.com/clusterchannel/clusterchannel/scheduler"
)

const patience = 30 * time.Second

// bad is a state that accepts nothing.
type bad struct{}

func (bad) MarshalBinary() ([]byte, error) { return []byte("junk"), nil }
func (bad) Merge([]byte) error             { return errors.New("it accepts nothing") }

var family = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)

// scrape runs a node in which each part has done something and failed at
// something, so that each metric has a series, and returns the metrics and
// their types.
func scrape(t *testing.T) map[string]string {
	t.Helper()
	registry := prometheus.NewRegistry()
	quiet := slog.New(slog.DiscardHandler)
	channel := openNode(t, registry, quiet)
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "states.db")
	store(t, dsn, nil, quiet)
	store(t, dsn, registry, quiet)
	evaluate(t, channel, registry, quiet)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	var all map[string]string
	testkit.Eventually(t, patience, func() error {
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(server.URL)
		if err != nil {
			return err
		}
		defer response.Body.Close() //nolint:errcheck // it was read
		text, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		all = map[string]string{}
		for _, m := range family.FindAllStringSubmatch(string(text), -1) {
			all[m[1]] = m[2]
		}
		for _, late := range []string{
			"clusterchannel_dropped_total", "clusterchannel_state_errors_total", "clusterchannel_persist_rejected_total",
			"clusterchannel_persist_size_bytes", "clusterchannel_scheduler_slow_evaluations_total", "alertmanager_cluster_pings_seconds",
		} {
			if all[late] == "" {
				return errors.New(late + " has no series yet")
			}
		}
		return nil
	})
	return all
}

// openNode opens two nodes: the one that is scraped drops an update and cannot
// merge one.
func openNode(t *testing.T, registry prometheus.Registerer, log *slog.Logger) backend.ClusterChannel {
	t.Helper()
	bus := memory.NewBus()
	open := func(name string, r prometheus.Registerer) (backend.ClusterChannel, backend.Channel) {
		ch, err := backend.Open(t.Context(), backend.Config{
			Backend: "memory", Cluster: "c", Name: name, Params: map[string]string{"bus": bus.Name()}, MaxPayload: 1000, Registerer: r, Logger: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := ch.Close(ctx); err != nil {
				t.Error(err)
			}
		})
		state, err := ch.AddState("bad", bad{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return ch, state
	}
	ch, state := open("a", registry)
	_, other := open("b", nil)
	if err := state.TryBroadcast(make([]byte, 2000)); !errors.Is(err, backend.ErrTooLarge) {
		t.Fatalf("above max_payload: %v", err)
	}
	testkit.Eventually(t, patience, func() error {
		if n := len(ch.Members()); n != 2 {
			return errors.New("it is alone")
		}
		return nil
	})
	other.Broadcast([]byte("x"))
	jobs, err := once.New(ch, &once.Options{Registerer: registry, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := jobs.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return ch
}

// store keeps a state in a database, in which the next store finds a row that
// it cannot use. Without a registry it has done so and is closed.
func store(t *testing.T, dsn string, registry prometheus.Registerer, log *slog.Logger) {
	t.Helper()
	s, err := persist.Open(persist.Options{DSN: dsn, Cluster: "c", Node: "a", Interval: 50 * time.Millisecond, Logger: log, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Keep(t.Context(), "bad", bad{}); err != nil {
		t.Error(err)
	}
	if registry == nil {
		stop()
		return
	}
	t.Cleanup(stop)
}

// evaluate runs a rule group that takes longer than its interval.
func evaluate(t *testing.T, ch backend.ClusterChannel, registry prometheus.Registerer, log *slog.Logger) {
	t.Helper()
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(100 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`) // the client may be gone
	}))
	rulesFile := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(rulesFile, []byte("groups:\n- name: slow\n  interval: 20ms\n  rules:\n  - alert: a\n    expr: up == 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := scheduler.New(scheduler.Options{
		RuleFiles: []string{rulesFile}, QueryURL: slow.URL, Cluster: ch, Logger: log, Registerer: registry,
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		Send:       func(context.Context, ...*model.Alert) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		slow.Close()
	})
}
