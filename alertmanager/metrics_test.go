package alertmanager_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// moduleDir is the directory of Alertmanager's own sources, of the version in
// go.mod, and that version.
func moduleDir(t *testing.T) (dir, version string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", "github.com/prometheus/alertmanager").Output()
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(out))
	if len(words) != 2 {
		t.Fatalf("go list: %q", out)
	}
	return words[0], strings.TrimPrefix(words[1], "v")
}

// Who left counts as a failed peer for the alerts of Alertmanager's mixin, as it
// does there.
func TestFailedPeers(t *testing.T) {
	t.Parallel()
	nodes, _ := startThree(t)
	nodes[2].app.Close()
	nodes[2].leave(t)
	testkit.Eventually(t, patience, func() error {
		if metrics := nodes[0].get(t, "/metrics"); !strings.Contains(metrics, "\nalertmanager_cluster_failed_peers 1\n") {
			return fmt.Errorf("the member that left is not missed:\n%s", metrics)
		}
		return nil
	})
}

// The hash distinguishes configurations, and is the same on every node.
func TestConfigHash(t *testing.T) {
	t.Parallel()
	file := configFile(t, config("http://127.0.0.1:1/"))
	opts := alertmanager.Options{ConfigFile: file}
	hash := func(n *node) string {
		t.Helper()
		for line := range strings.Lines(n.get(t, "/metrics")) {
			if value, ok := strings.CutPrefix(line, "alertmanager_config_hash "); ok {
				return value
			}
		}
		t.Fatal("there is no alertmanager_config_hash")
		return ""
	}
	a, b := start(t, "a", nil, backend.Timing{}, opts), start(t, "b", nil, backend.Timing{}, opts)
	first := hash(a)
	if hash(b) != first {
		t.Error("two nodes with one configuration have two hashes")
	}
	writeFile(t, file, config("http://127.0.0.1:2/"))
	a.post(t, "/-/reload", nil)
	if hash(a) == first {
		t.Error("another configuration has the same hash")
	}
}

// The version is that of Alertmanager's packages, for programs that depend on
// it.
func TestVersion(t *testing.T) {
	t.Parallel()
	_, want := moduleDir(t)
	if alertmanager.Version != want {
		t.Errorf("Version is %s, in go.mod %s", alertmanager.Version, want)
	}
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: configFile(t, config("http://127.0.0.1:1/"))})
	if metrics := n.get(t, "/metrics"); !regexp.MustCompile(`\nalertmanager_build_info\{[^}]*version="` + regexp.QuoteMeta(want) + `"\} 1\n`).MatchString(metrics) {
		t.Errorf("no alertmanager_build_info of version %s:\n%s", want, metrics)
	}
	if status := n.get(t, "/api/v2/status"); !strings.Contains(status, fmt.Sprintf(`"version":%q`, want)) {
		t.Errorf("the API has not the version %s: %s", want, status)
	}
}
