package command_test

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/all"
)

// checkReport is what the command prints as JSON.
type checkReport struct {
	Source, Format, Backend, Error string
	Settings                       []struct{ Key, Value, From string }
	Ignored                        []struct {
		Key, Why string
		Line     int
	}
}

// configCheck runs the command to its end.
func configCheck(t *testing.T, args ...string) (p *process, code int) {
	t.Helper()
	p = run(t, append([]string{"config", "check"}, args...)...)
	code = p.exitCode(t, 15*time.Second)
	if out := p.stdout.String() + p.stderr.String(); strings.Contains(out, "s3cret") {
		t.Errorf("%q: it shows a secret", args)
	} else if strings.Contains(out, "panic:") || strings.Contains(out, "goroutine ") {
		t.Errorf("%q: it shows a stack trace", args)
	}
	return p, code
}

// configReport runs the command and decodes what it says.
func configReport(t *testing.T, source string, code int) checkReport {
	t.Helper()
	p, got := configCheck(t, source, "--json")
	if got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	var r checkReport
	decoder := json.NewDecoder(strings.NewReader(p.stdout.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// has checks one setting: its value, and how from begins.
func (r checkReport) has(t *testing.T, key, value, from string) {
	t.Helper()
	for _, s := range r.Settings {
		if s.Key == key {
			if s.Value != value || !strings.HasPrefix(s.From, from) {
				t.Errorf("%s is %q from %q, want %q from %q", key, s.Value, s.From, value, from)
			}
			return
		}
	}
	t.Errorf("there is no %s in %+v", key, r.Settings)
}

const seedOnKubernetes = "../../alertmanager/grafanaini/testdata/kubernetes.ini"

func TestConfigCheckKubernetes(t *testing.T) {
	t.Setenv("POD_IP", "10.1.2.3")
	r := configReport(t, absolute(t, seedOnKubernetes), 0)
	if r.Format != "ini" || r.Backend != "memberlist" || r.Error != "" || len(r.Ignored) != 0 {
		t.Errorf("it says %+v", r)
	}
	r.has(t, "backend", "memberlist", "ha_peers, file: line 4")
	r.has(t, "listen_address", "10.1.2.3:9094", "ha_listen_address, file: line 3")
	r.has(t, "advertise_address", "10.1.2.3:9094", "ha_advertise_address, file: line 5")
	r.has(t, "peers", "grafana-alerting.grafana:9094", "ha_peers, file: line 4")
	r.has(t, "gossip_interval", "200ms", "ha_gossip_interval, default")
	r.has(t, "reconnect_interval", "1s", "default")
	r.has(t, "ha_peer_timeout", "15s", "file: line 6")
	r.has(t, "execute_alerts", "true", "default")
}

func TestConfigCheckRedis(t *testing.T) {
	t.Setenv("GF_UNIFIED_ALERTING_HA_REDIS_PASSWORD", "s3cret")
	r := configReport(t, file(t, "custom", `
[unified_alerting]
ha_redis_address = r1:6379, r2:6379
ha_redis_username = alerting
ha_redis_prefix = blue
ha_redis_peer_name = node-1
ha_peers = a:9094
max_attempts = 3
`), 0)
	if r.Format != "ini" || r.Backend != "redis" {
		t.Errorf("it says %+v", r)
	}
	r.has(t, "backend", "redis", "ha_redis_address, file: line 3")
	r.has(t, "address", "r1:6379,r2:6379", "ha_redis_address, file: line 3")
	r.has(t, "mode", "cluster", "implied")
	r.has(t, "password", "<secret>", "ha_redis_password, environment: GF_UNIFIED_ALERTING_HA_REDIS_PASSWORD")
	r.has(t, "prefix", "blue", "ha_redis_prefix, file: line 5")
	r.has(t, "name", "node-1", "ha_redis_peer_name, file: line 6")
	r.has(t, "sentinel_password", "", "ha_redis_sentinel_password, default")
	r.has(t, "client_name", "", "default")
	if len(r.Ignored) != 2 || r.Ignored[0].Key != "ha_peers" || r.Ignored[0].Line != 7 || r.Ignored[1].Key != "max_attempts" || r.Ignored[1].Why == "" {
		t.Errorf("it ignores %+v, want ha_peers of line 7 and max_attempts", r.Ignored)
	}
}

func TestConfigCheckYAMLAndURL(t *testing.T) {
	t.Parallel()
	r := configReport(t, file(t, "cluster.yml", "backend: redis\ncluster: alerts\ntiming: {grace: 5s}\nmeta: {zone: eu}\nredis: {address: r:6379, password: s3cret}\n"), 0)
	if r.Format != "yaml" || r.Backend != "redis" {
		t.Errorf("it says %+v", r)
	}
	r.has(t, "cluster", "alerts", "file")
	r.has(t, "grace", "5s", "file")
	r.has(t, "sync", "30s", "default")
	r.has(t, "meta.zone", "eu", "file")
	r.has(t, "address", "r:6379", "file")
	r.has(t, "password", "<secret>", "file")
	r.has(t, "pool_size", "5", "default")

	r = configReport(t, "redis://u:s3cret@r:6379/3?cluster=alerts&name=node-1&max_payload=8MiB", 0)
	if r.Format != "url" || r.Backend != "redis" || r.Source != "redis://…" {
		t.Errorf("it says %+v", r)
	}
	r.has(t, "name", "node-1", "URL")
	r.has(t, "max_payload", "8MiB", "URL")
	r.has(t, "db", "3", "URL")
	r.has(t, "username", "u", "URL")
	r.has(t, "password", "<secret>", "URL")
}

func TestConfigCheckTable(t *testing.T) {
	t.Parallel()
	p, code := configCheck(t, file(t, "custom.ini", "[unified_alerting]\nha_peers = a:9094\nha_reconnect_timeout = 2m\nha_redis_password = s3cret\n"))
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	out := strings.Join(strings.Fields(p.stdout.String()), " ")
	for _, want := range []string{
		"custom.ini selects memberlist.", "KEY VALUE FROM", "peers a:9094 ha_peers, file: line 2",
		"IGNORED LINE WHY", "ha_reconnect_timeout 3 lost members", "ha_redis_password 4 ha_redis_address is not set",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not print %q", want)
		}
	}
	if p, code = configCheck(t, file(t, "custom.ini", "[server]\n")); code != 0 || !strings.Contains(p.stdout.String(), "high availability is off") {
		t.Errorf("exit code %d, want 0 and the word that high availability is off", code)
	}
}

func TestConfigCheckRefuses(t *testing.T) {
	t.Parallel()
	broken := file(t, "ca.pem", "no certificate")
	for name, c := range map[string]struct {
		source string
		want   []string
	}{
		"no file":           {"/absent/custom.ini", []string{"/absent/custom.ini", "no such file"}},
		"a directory":       {t.TempDir(), []string{"directory"}},
		"POD_IP unset":      {absolute(t, seedOnKubernetes), []string{"kubernetes.ini: line 3", "ha_listen_address", "POD_IP", "not set"}},
		"bad duration":      {file(t, "a.ini", "[unified_alerting]\nha_peers = a:1\nha_gossip_interval = fast\n"), []string{"a.ini: line 3", "ha_gossip_interval", `"fast"`}},
		"unknown key":       {file(t, "b.ini", "[unified_alerting]\nha_peer = a:1\n"), []string{"b.ini: line 2", "ha_peer", "did you mean ha_peers?"}},
		"found by backend":  {file(t, "c.ini", "[unified_alerting]\nha_redis_address = r:1\nha_redis_tls_enabled = true\nha_redis_tls_ca_path = "+broken+"\n"), []string{"c.ini: [unified_alerting] ha_redis_tls_ca_path (file: line 4)", broken}},
		"not ini":           {file(t, "d.ini", "backend: redis\nredis\n"), []string{"d.ini: line 2"}},
		"YAML key":          {file(t, "e.yml", "backnd: memberlist\n"), []string{"e.yml", "line 1", "backnd"}},
		"YAML parameter":    {file(t, "f.yml", "backend: memberlist\nmemberlist: {peers: [nowhere]}\n"), []string{"f.yml", "peers", "nowhere"}},
		"YAML of nothing":   {file(t, "g.yml", ""), []string{"g.yml", "backend is empty"}},
		"URL's backend":     {"pigeon://h", []string{"pigeon", "memberlist"}},
		"URL's parameter":   {"memberlist://0.0.0.0:9094?colour=red&token=s3cret", []string{"URL", "colour", "listen_address"}},
		"URL's own trouble": {"redis://u:s3cret/x@h", []string{"URL", "percent-encoded"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, code := configCheck(t, c.source)
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, word := range append(c.want, "clusterchannel: ") {
				if !strings.Contains(p.stderr.String(), word) {
					t.Errorf("the message does not name %q", word)
				}
			}
			if r := configReport(t, c.source, 1); r.Error == "" {
				t.Error("the report names no error")
			}
		})
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"--jsn", "a"}} {
		if p, code := configCheck(t, args...); code != 2 {
			t.Errorf("%q: exit code %d, want 2\n%s", args, code, p.stderr.String())
		}
	}
}

// TestConfigCheckKnowsEveryBackend checks that the check of each backend opens
// nothing, and that the command knows its parameters.
func TestConfigCheckKnowsEveryBackend(t *testing.T) {
	t.Parallel()
	for _, name := range backend.Registered() {
		r := configReport(t, fmt.Sprintf("%s://?cluster=alerts&no_such_key=s3cret", name), 1)
		if !strings.Contains(r.Error, "no_such_key") {
			t.Errorf("%s: %q does not name no_such_key: the parameters are to be checked first", name, r.Error)
		}
		if r = configReport(t, name+"://?cluster=alerts", 0); len(r.Settings) <= len(backend.Keys()) {
			t.Errorf("%s: no parameter is shown; it is registered without Params", name)
		}
	}
}

// TestConfigCheckOpensNothing names an address that is taken, and listens on it.
func TestConfigCheckOpensNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan bool)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_ = conn.Close()
		}
		accepted <- err == nil
	}()
	for _, name := range backend.Registered() {
		if name != "memory" { // it has no address
			configReport(t, name+"://"+l.Addr().String()+"?cluster=alerts", 0)
		}
	}
	_ = l.Close()
	if <-accepted {
		t.Error("one of the backends connects")
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
