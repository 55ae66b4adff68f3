package alertmanager_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestAmtool runs Alertmanager's own command line tool, of the version in
// go.mod, against two nodes.
func TestAmtool(t *testing.T) {
	t.Parallel()
	tool := filepath.Join(t.TempDir(), "amtool")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", tool, "github.com/prometheus/alertmanager/cmd/amtool")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build amtool: %v\n%s", err, out)
	}
	nodes, _ := startThree(t)
	home := t.TempDir()
	run := func(n *node, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), tool, append(args, "--alertmanager.url="+n.url)...)
		cmd.Env = append(os.Environ(), "HOME="+home)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("amtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}

	show := run(nodes[0], "cluster", "show", "--output=extended")
	lines := slices.Collect(strings.Lines(show))
	if !strings.Contains(show, "ready") {
		t.Errorf("cluster show is not ready:\n%s", show)
	}
	for _, n := range nodes {
		if !slices.ContainsFunc(lines, func(l string) bool { return slices.Contains(strings.Fields(l), n.name) }) {
			t.Errorf("cluster show lacks %s:\n%s", n.name, show)
		}
	}

	run(nodes[0], "alert", "add", "alertname=DiskFull", "instance=db-1")
	if out := run(nodes[0], "alert", "query", "instance=db-1"); !strings.Contains(out, "DiskFull") {
		t.Errorf("alert query:\n%s", out)
	}

	id := strings.TrimSpace(run(nodes[0], "silence", "add", "--author=test", "--comment=test", "--duration=1h", "alertname=DiskFull"))
	nodes[1].silenceBecomes(t, id, "active")
	if out := run(nodes[1], "silence", "query", "alertname=DiskFull"); !strings.Contains(out, id) {
		t.Errorf("silence query on the other node:\n%s", out)
	}
	testkit.Eventually(t, patience, func() error {
		out := run(nodes[0], "alert", "query", "--silenced", "--output=json", "alertname=DiskFull")
		var alerts []struct{ Status struct{ SilencedBy []string } }
		if err := json.Unmarshal([]byte(out), &alerts); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if len(alerts) != 1 || !slices.Contains(alerts[0].Status.SilencedBy, id) {
			return errors.New("the alert is not silenced: " + out)
		}
		return nil
	})
	run(nodes[1], "silence", "expire", id)
	nodes[0].silenceBecomes(t, id, "expired")
}
