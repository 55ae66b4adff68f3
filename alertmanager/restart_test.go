package alertmanager_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// resolving is the configuration of a receiver that is told of resolved alerts,
// with the time that an alert without an end lasts.
func resolving(s *sink, timeout time.Duration) string {
	return fmt.Sprintf("global: {resolve_timeout: %v}\n", timeout) + strings.Replace(config(s.url), "send_resolved: false", "send_resolved: true", 1)
}

// says fails unless the receiver hears of the alert exactly this.
func (s *sink) says(t *testing.T, alert string, want ...string) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if got := s.statuses(alert); len(got) < len(want) {
			return fmt.Errorf("%s was said to be %q, want %q", alert, got, want)
		}
		return nil
	})
	turnsOver(t, 2)
	if got := s.statuses(alert); !slices.Equal(got, want) {
		t.Errorf("%s was said to be %q, want %q", alert, got, want)
	}
}

// over posts that the alert has ended.
func over(t *testing.T, nodes []*node, alert string) {
	t.Helper()
	now := time.Now()
	for _, n := range nodes {
		n.post(t, "/api/v2/alerts", []map[string]any{{
			"labels": map[string]string{"alertname": alert}, "startsAt": now.Add(-time.Minute), "endsAt": now.Add(-time.Millisecond),
		}})
	}
}

// An alert that ends less than a group_interval before a restart is sent as
// resolved after it, and one that fires goes on.
func TestResolvedBeforeARestart(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	opts := alertmanager.Options{ConfigFile: configFile(t, resolving(s, time.Hour)), StoragePath: t.TempDir()}
	n := start(t, "a", nil, backend.Timing{}, opts)
	fire(t, []*node{n}, "Over", "Fires")
	s.says(t, "Over", "firing")
	over(t, []*node{n}, "Over")
	n.app.Close()

	n = start(t, "a", nil, backend.Timing{}, opts)
	s.says(t, "Over", "firing", "resolved")
	s.says(t, "Fires", "firing")
	if body := n.get(t, "/api/v2/alerts"); !strings.Contains(body, "Fires") {
		t.Errorf("it does not know what fires: %s", body)
	}
}

// The same when all nodes are restarted one after the other.
func TestResolvedBeforeARollingRestart(t *testing.T) {
	t.Parallel()
	s, bus := newSink(t), newBus(t)
	file := configFile(t, resolving(s, time.Hour))
	names, opts, nodes := []string{"a", "b"}, map[string]alertmanager.Options{}, map[string]*node{}
	for _, name := range names {
		opts[name] = alertmanager.Options{ConfigFile: file, StoragePath: t.TempDir()}
		nodes[name] = start(t, name, bus, backend.Timing{}, opts[name])
	}
	all := func() []*node { return []*node{nodes["a"], nodes["b"]} }
	agree(t, all())
	fire(t, all(), "Over")
	s.says(t, "Over", "firing")
	over(t, all(), "Over")
	for _, name := range names {
		restart(t, nodes, name, bus, opts[name])
		agree(t, all())
	}
	s.says(t, "Over", "firing", "resolved")
}

func restart(t *testing.T, nodes map[string]*node, name string, bus *memory.Bus, opts alertmanager.Options) {
	t.Helper()
	nodes[name].app.Close()
	nodes[name].leave(t)
	nodes[name] = start(t, name, bus, backend.Timing{}, opts)
}

// The condition and its source end while no instance runs. The alert lasts as
// long as its source may be silent.
func TestResolvedDuringARestart(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	content := strings.Replace(resolving(s, 2*time.Second), "group_interval: 1m", "group_interval: 1s", 1)
	opts := alertmanager.Options{ConfigFile: configFile(t, content), StoragePath: t.TempDir()}
	n := start(t, "a", nil, backend.Timing{}, opts)
	fire(t, []*node{n}, "Over")
	s.waitFor(t, "Over")
	n.app.Close()
	<-time.After(2 * time.Second)

	began := time.Now()
	start(t, "a", nil, backend.Timing{}, opts)
	s.says(t, "Over", "firing", "resolved")
	if lasted := time.Since(began); lasted < 2*time.Second {
		t.Errorf("its source was given only %v to speak again", lasted)
	}
}

// A file that holds something else is an error that names it, and is left as it
// is.
func TestForeignFileOfAlerts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := writeFile(t, filepath.Join(dir, "alerts"), "clusterchannel alerts 999 00\n")
	refused(t, alertmanager.Options{ConfigFile: configFile(t, config("http://127.0.0.1:1/")), StoragePath: dir}, path, "999", "later version")
	if content, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(content), "clusterchannel alerts 999") {
		t.Errorf("it was changed: %q, %v", content, err)
	}
}
