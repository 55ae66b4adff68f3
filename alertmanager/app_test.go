package alertmanager_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

func TestNewNamesWhatIsWrong(t *testing.T) {
	ignored := goleak.IgnoreCurrent()
	sound := config("http://127.0.0.1:1/")
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"not YAML":              {"route:\n  receiver: [", []string{"alertmanager.yml", "line 2"}},
		"unknown key":           {sound + "nonsense: 1\n", []string{"alertmanager.yml", "line 12", "nonsense"}},
		"undefined receiver":    {"route:\n  receiver: nobody\n", []string{"alertmanager.yml", "nobody"}},
		"broken template":       {sound + "templates: [broken.tmpl]\n", []string{"alertmanager.yml", "broken.tmpl"}},
		"missing secret's file": {sound + "        http_config: {tls_config: {ca_file: absent.pem}}\n", []string{"alertmanager.yml", "absent.pem"}},
		"empty":                 {"", []string{"alertmanager.yml"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := configFile(t, c.content)
			writeFile(t, filepath.Join(filepath.Dir(file), "broken.tmpl"), `{{ define "x" }}`)
			refused(t, alertmanager.Options{ConfigFile: file}, c.want...)
		})
	}
	t.Run("missing file", func(t *testing.T) {
		refused(t, alertmanager.Options{ConfigFile: filepath.Join(t.TempDir(), "absent.yml")}, "absent.yml")
	})
	t.Run("no file", func(t *testing.T) { refused(t, alertmanager.Options{}, "config file") })
	t.Run("negative period", func(t *testing.T) {
		refused(t, alertmanager.Options{ConfigFile: configFile(t, sound), PeerTimeout: -time.Second}, "peer timeout", "-1s")
	})
	goleak.VerifyNone(t, ignored)
}

// refused fails unless New refuses opts with ErrConfig and these words.
func refused(t *testing.T, opts alertmanager.Options, words ...string) {
	t.Helper()
	app, err := alertmanager.New(opts, nil)
	if err == nil {
		app.Close()
		t.Fatal("New succeeded")
	}
	if !errors.Is(err, backend.ErrConfig) {
		t.Errorf("%v: does not wrap ErrConfig", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v: does not name %q", err, word)
		}
	}
}

// An instance that cannot be made leaves the cluster's states to the next one.
func TestFailedNewLeavesTheChannelUsable(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	n := start(t, "a", newBus(t), backend.Timing{}, alertmanager.Options{ConfigFile: configFile(t, config(sink.url))})
	n.app.Close()
	broken := configFile(t, config(sink.url)+"templates: [broken.tmpl]\n")
	writeFile(t, filepath.Join(filepath.Dir(broken), "broken.tmpl"), "{{")
	refused(t, alertmanager.Options{ConfigFile: broken, Cluster: n.channel}, "broken.tmpl")
	app, err := alertmanager.New(alertmanager.Options{ConfigFile: configFile(t, config(sink.url)), Cluster: n.channel}, nil)
	if err != nil {
		t.Fatal(err)
	}
	app.Close()
	app.Close() // does nothing
}

func TestReadyOnceSettled(t *testing.T) {
	t.Parallel()
	bus := newBus(t)
	bus.Stop()
	n := start(t, "a", bus, backend.Timing{Settle: time.Hour}, alertmanager.Options{ConfigFile: configFile(t, config("http://127.0.0.1:1/"))})
	if code, body := n.call(t, http.MethodGet, "/-/ready", nil); code != http.StatusServiceUnavailable || body != "settling" {
		t.Errorf("/-/ready without a bus: %d %q", code, body)
	}
	if body := n.get(t, "/-/healthy"); body != "OK" {
		t.Errorf("/-/healthy without a bus: %q", body)
	}
	if status := n.get(t, "/api/v2/status"); !strings.Contains(status, `"status":"settling"`) {
		t.Errorf("/api/v2/status without a bus: %s", status)
	}
	bus.Start()
	testkit.Eventually(t, patience, func() error {
		if code, body := n.call(t, http.MethodGet, "/-/ready", nil); code != http.StatusOK {
			return fmt.Errorf("/-/ready: %d %q", code, body)
		}
		return nil
	})
	for _, path := range []string{"/-/ready", "/-/healthy"} {
		if code, _ := n.call(t, http.MethodHead, path, nil); code != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, code)
		}
	}
}

func TestAloneWithoutCluster(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: configFile(t, config(sink.url)), RoutePrefix: "/am/"})
	n.url += "/am"
	if body := n.get(t, "/-/ready"); body != "OK" {
		t.Errorf("/-/ready: %q", body)
	}
	if status := n.get(t, "/api/v2/status"); !strings.Contains(status, `"status":"disabled"`) {
		t.Errorf("/api/v2/status: %s", status)
	}
	metrics := n.get(t, "/metrics")
	if !strings.Contains(metrics, "\nalertmanager_cluster_enabled 0\n") || strings.Contains(metrics, "alertmanager_peer_position") {
		t.Errorf("metrics of a cluster where there is none:\n%s", metrics)
	}
	fire(t, []*node{n}, "DiskFull")
	turnsOver(t, 1)
	sink.expect(t, "DiskFull", n.external())
}

func TestMetricNames(t *testing.T) {
	t.Parallel()
	nodes, _ := startThree(t)
	nodes[0].silenceOf(t, "Maintenance")
	testkit.Eventually(t, patience, func() error {
		metrics := nodes[1].get(t, "/metrics")
		for _, name := range []string{
			"alertmanager_cluster_messages_received_total counter",
			"alertmanager_cluster_messages_received_size_total counter",
			"alertmanager_cluster_messages_sent_total counter",
			"alertmanager_cluster_messages_sent_size_total counter",
			"alertmanager_cluster_messages_publish_failures_total counter",
			"alertmanager_cluster_members gauge",
			"alertmanager_peer_position gauge",
			"alertmanager_cluster_pings_seconds histogram",
			"alertmanager_cluster_pings_failures_total counter",
			"alertmanager_cluster_enabled gauge",
		} {
			if !strings.Contains(metrics, "# TYPE "+name+"\n") {
				return fmt.Errorf("/metrics lacks %s", name)
			}
		}
		if !strings.Contains(metrics, "\nalertmanager_cluster_enabled 1\n") {
			return errors.New("alertmanager_cluster_enabled is not 1")
		}
		return nil
	})
}

func TestReload(t *testing.T) {
	t.Parallel()
	before, after := newSink(t), newSink(t)
	file := configFile(t, config(before.url))
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: file})
	success := func(want string) {
		t.Helper()
		if metrics := n.get(t, "/metrics"); !strings.Contains(metrics, "\nalertmanager_config_last_reload_successful "+want+"\n") {
			t.Errorf("alertmanager_config_last_reload_successful is not %s", want)
		}
	}
	broken := filepath.Join(filepath.Dir(file), "broken.tmpl")
	writeFile(t, broken, "{{")
	for _, c := range []struct {
		content string
		words   []string
	}{
		{"route:\n  receiver: [", []string{file, "line 2"}},
		{config(after.url) + "templates: [broken.tmpl]\n", []string{file, "broken.tmpl"}},
		{
			config(after.url) + "inhibit_rules: [{source_matchers: [a=b], target_matchers: [c=d]}]\n" +
				"tracing: {endpoint: 127.0.0.1:1, client_type: http, tls_config: {ca_file: absent.pem}}\n",
			[]string{file, "tracing", "absent.pem"},
		},
	} {
		writeFile(t, file, c.content)
		err := n.app.Reload()
		if !errors.Is(err, backend.ErrConfig) {
			t.Fatalf("Reload() = %v, want ErrConfig", err)
		}
		code, body := n.call(t, http.MethodPost, "/-/reload", nil)
		if code != http.StatusInternalServerError {
			t.Errorf("/-/reload: %d", code)
		}
		for _, word := range c.words {
			if !strings.Contains(err.Error(), word) || !strings.Contains(body, word) {
				t.Errorf("Reload() = %v, /-/reload says %s: does not name %q", err, body, word)
			}
		}
		success("0")
	}
	fire(t, []*node{n}, "Old")
	before.waitFor(t, "Old")
	if status := n.get(t, "/api/v2/status"); strings.Contains(status, "broken.tmpl") || strings.Contains(status, "absent.pem") {
		t.Errorf("a refused configuration is in force: %s", status)
	}
	if metrics := n.get(t, "/metrics"); !strings.Contains(metrics, "\nalertmanager_inhibition_rules 0\n") {
		t.Error("the metrics are of a refused configuration")
	}

	writeFile(t, file, config(after.url))
	n.post(t, "/-/reload", nil)
	success("1")
	fire(t, []*node{n}, "New")
	after.waitFor(t, "New")
	before.expect(t, "New")
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	opts := alertmanager.Options{ConfigFile: configFile(t, config(sink.url)), StoragePath: filepath.Join(t.TempDir(), "data", "deep")}
	n := start(t, "a", nil, backend.Timing{}, opts)
	id := n.silenceOf(t, "Maintenance")
	fire(t, []*node{n}, "DiskFull")
	sink.waitFor(t, "DiskFull")
	n.app.Close()
	for _, name := range []string{"nflog", "silences"} {
		if info, err := os.Stat(filepath.Join(opts.StoragePath, name)); err != nil || info.Size() == 0 {
			t.Errorf("snapshot %s: %v, %v", name, info, err)
		}
	}

	n = start(t, "a", nil, backend.Timing{}, opts)
	n.silenceBecomes(t, id, "active")
	fire(t, []*node{n}, "DiskFull", "Maintenance", "New")
	sink.waitFor(t, "New")
	turnsOver(t, 1)
	sink.expect(t, "DiskFull", n.external())
	sink.expect(t, "Maintenance")
}

func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	file := configFile(t, config("http://127.0.0.1:1/"))
	for _, name := range []string{"nflog", "silences"} {
		dir := t.TempDir()
		damaged := writeFile(t, filepath.Join(dir, name), "\x05a")
		app, err := alertmanager.New(alertmanager.Options{ConfigFile: file, StoragePath: dir}, nil)
		if err == nil {
			app.Close()
			t.Errorf("New took a damaged %s", name)
		} else if !strings.Contains(err.Error(), damaged) {
			t.Errorf("%v: does not name %s", err, damaged)
		}
	}
}
