package grafanaini_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
	"github.com/clusterchannel/clusterchannel/backend"
)

// sources are what the ini files of these tests refer to.
func sources(environ ...string) grafanaini.Sources {
	files := map[string]string{"/run/secrets/redis": "\n s3cret\t\n", "/etc/peers": "a:1, b:2\n"}
	return grafanaini.Sources{
		Environ: append([]string{"EMPTY="}, environ...),
		ReadFile: func(path string) ([]byte, error) {
			if text, ok := files[path]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
		Hostname: func() (string, error) { return "host-7", nil },
	}
}

// read parses the lines as keys of the section.
func read(t *testing.T, s grafanaini.Sources, lines ...string) grafanaini.Settings {
	t.Helper()
	settings, err := s.Parse("custom.ini", []byte("[unified_alerting]\n"+strings.Join(lines, "\n")))
	if err != nil {
		t.Fatalf("%q: %v", lines, err)
	}
	return settings
}

func TestNothingSelected(t *testing.T) {
	full, err := os.ReadFile("testdata/full.ini")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "[unified_alerting]\n", "[server]\nhttp_port = 3000\n", "[unified_alerting]\nha_peers =\nha_redis_address = \"\"\n", string(full)} {
		s, err := sources().Parse("custom.ini", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if !reflect.DeepEqual(s.Config, backend.Config{}) {
			t.Errorf("%q selects %+v", text, s.Config)
		}
		s.Config, s.Values, s.Ignored = backend.Config{}, nil, nil
		want := grafanaini.Settings{
			Enabled: true, ExecuteAlerts: true, EvaluationTimeout: 30 * time.Second, MinInterval: 10 * time.Second,
			NotificationLogRetention: 5 * 24 * time.Hour,
			PeerTimeout:              15 * time.Second, PushPullInterval: time.Minute,
		}
		if !reflect.DeepEqual(s, want) {
			t.Errorf("%q: %+v, want the defaults %+v", text, s, want)
		}
	}
}

const gossip, broker = "ha_peers = a:1", "ha_redis_address = r:6379"

// TestParams sets each key that becomes a parameter of a backend.
func TestParams(t *testing.T) {
	withGossip := map[string]string{
		"listen_address": "0.0.0.0:9094", "peers": "a:1", "label": "", "gossip_interval": "200ms", "push_pull_interval": "1m0s",
	}
	withBroker := map[string]string{"address": "r:6379", "mode": "single", "pool_size": "5"}
	tls := "ha_redis_tls_enabled = true"
	for _, c := range []struct {
		lines string // separated by "|"
		want  map[string]string
	}{
		{gossip, nil},
		{"ha_peers = a:1 ,  b.example:2,[fd00::1]:3", map[string]string{"peers": "a:1,b.example:2,[fd00::1]:3"}},
		{"ha_peers: a:1", nil},
		{gossip + "|ha_listen_address = 10.0.0.5:9095", map[string]string{"listen_address": "10.0.0.5:9095"}},
		{gossip + "|ha_listen_address = :9095", map[string]string{"listen_address": "0.0.0.0:9095"}},
		{gossip + "|ha_listen_address = [::]:9095", map[string]string{"listen_address": "[::]:9095"}},
		{gossip + "|ha_listen_address =", nil},
		{gossip + "|ha_advertise_address = 10.0.0.5:9095", map[string]string{"advertise_address": "10.0.0.5:9095"}},
		{gossip + "|ha_label = blue", map[string]string{"label": "blue"}},
		{gossip + "|ha_gossip_interval = 1s", map[string]string{"gossip_interval": "1s"}},
		{gossip + "|ha_push_pull_interval = 2m", map[string]string{"push_pull_interval": "2m0s"}},
		{gossip + "|ha_reconnect_timeout = 2m", nil},

		{broker, nil},
		{"ha_redis_address = a:1, b:2", map[string]string{"address": "a:1,b:2", "mode": "cluster"}},
		{broker + "|ha_peers = a:1", nil},
		{broker + "|ha_redis_username = u|ha_redis_password = p", map[string]string{"username": "u", "password": "p"}},
		{broker + "|ha_redis_password = `a#b;c`", map[string]string{"password": "a#b;c"}},
		{broker + "|ha_redis_db = 3", map[string]string{"db": "3"}},
		{broker + "|ha_redis_prefix = blue", map[string]string{"prefix": "blue"}},
		{broker + "|ha_redis_max_conns = 7", map[string]string{"pool_size": "7"}},
		{broker + "|ha_redis_cluster_mode_enabled = true", map[string]string{"mode": "cluster"}},
		{broker + "|ha_redis_sentinel_master_name = m", map[string]string{"mode": "sentinel", "master_name": "m"}},
		{
			"ha_redis_address = s:1,s:2|ha_redis_sentinel_mode_enabled = yes|ha_redis_sentinel_master_name = m|ha_redis_db = 1|ha_redis_sentinel_username = u|ha_redis_sentinel_password = p",
			map[string]string{"address": "s:1,s:2", "mode": "sentinel", "master_name": "m", "db": "1", "sentinel_username": "u", "sentinel_password": "p"},
		},
		{broker + "|" + tls, map[string]string{"tls": "true"}},
		{broker + "|ha_redis_tls_enabled = false", map[string]string{"tls": "false"}},
		{broker + "|" + tls + "|ha_redis_tls_ca_path = /ca", map[string]string{"tls": "true", "tls_ca_file": "/ca"}},
		{broker + "|" + tls + "|ha_redis_tls_cert_path = /c|ha_redis_tls_key_path = /k", map[string]string{"tls": "true", "tls_cert_file": "/c", "tls_key_file": "/k"}},
		{broker + "|" + tls + "|ha_redis_tls_server_name = n", map[string]string{"tls": "true", "tls_server_name": "n"}},
		{broker + "|" + tls + "|ha_redis_tls_insecure_skip_verify = 1", map[string]string{"tls": "true", "tls_skip_verify": "true"}},
		{
			broker + "|" + tls + "|ha_redis_tls_cipher_suites = TLS_RSA_WITH_RC4_128_SHA , TLS_AES_128_GCM_SHA256",
			map[string]string{"tls": "true", "tls_cipher_suites": "TLS_RSA_WITH_RC4_128_SHA,TLS_AES_128_GCM_SHA256"},
		},
		{broker + "|" + tls + "|ha_redis_tls_min_version = VersionTLS13", map[string]string{"tls": "true", "tls_min_version": "1.3"}},
	} {
		s := read(t, sources(), strings.Split(c.lines, "|")...)
		name, want := "memberlist", maps.Clone(withGossip)
		if strings.Contains(c.lines, "ha_redis_address") {
			name, want = "redis", maps.Clone(withBroker)
		}
		maps.Copy(want, c.want)
		if s.Config.Backend != name || !maps.Equal(s.Config.Params, want) {
			t.Errorf("%q: %s %v, want %s %v", c.lines, s.Config.Backend, s.Config.Params, name, want)
		}
	}
}

func TestClusterNameAndTiming(t *testing.T) {
	s := read(t, sources(), gossip, "ha_label = blue")
	if c := s.Config; c.Cluster != "blue" || c.Name != "" || c.Timing != (backend.Timing{}) {
		t.Errorf("memberlist: %+v, want the label as the cluster's name and the rest left open", c)
	}
	s = read(t, sources(), broker, "ha_redis_peer_name = node-1", "ha_push_pull_interval = 2m")
	if c := s.Config; c.Cluster == "" || c.Name != "node-1" || c.Timing != (backend.Timing{Sync: 2 * time.Minute}) {
		t.Errorf("redis: %+v, want a cluster's name, node-1, and states compared every 2m", c)
	}
	if s = read(t, sources(), broker, "ha_redis_max_conns = 0"); s.Config.Params["pool_size"] < "1" {
		t.Errorf("ha_redis_max_conns = 0: a pool of %q, want one that grows with the processors", s.Config.Params["pool_size"])
	}
}

// TestSettings sets each key that is the application's.
func TestSettings(t *testing.T) {
	for line, get := range map[string]func(grafanaini.Settings) bool{
		"enabled = no":                                func(s grafanaini.Settings) bool { return !s.Enabled && s.Config.Backend == "" },
		"execute_alerts = false":                      func(s grafanaini.Settings) bool { return !s.ExecuteAlerts },
		"evaluation_timeout = 1m":                     func(s grafanaini.Settings) bool { return s.EvaluationTimeout == time.Minute },
		"min_interval = 20s":                          func(s grafanaini.Settings) bool { return s.MinInterval == 20*time.Second },
		"notification_log_retention = 2w":             func(s grafanaini.Settings) bool { return s.NotificationLogRetention == 14*24*time.Hour },
		"ha_peer_timeout = 30s":                       func(s grafanaini.Settings) bool { return s.PeerTimeout == 30*time.Second },
		"ha_push_pull_interval = 5m":                  func(s grafanaini.Settings) bool { return s.PushPullInterval == 5*time.Minute },
		"ha_single_node_evaluation = On":              func(s grafanaini.Settings) bool { return s.SingleNodeEvaluation },
		"[alerting]\nevaluation_timeout_seconds = 45": func(s grafanaini.Settings) bool { return s.EvaluationTimeout == 45*time.Second },
		"evaluation_timeout = 1m\n[alerting]\nevaluation_timeout_seconds = 45":  func(s grafanaini.Settings) bool { return s.EvaluationTimeout == time.Minute },
		"evaluation_timeout = 30s\n[alerting]\nevaluation_timeout_seconds = 45": func(s grafanaini.Settings) bool { return s.EvaluationTimeout == 45*time.Second },
		"[alerting]\nmin_interval_seconds = 60":                                 func(s grafanaini.Settings) bool { return s.MinInterval == time.Minute },
		"[alerting]\nmin_interval_seconds = 1":                                  func(s grafanaini.Settings) bool { return s.MinInterval == 10*time.Second },
		"min_interval = 20s\n[alerting]\nmin_interval_seconds = 60":             func(s grafanaini.Settings) bool { return s.MinInterval == 20*time.Second },
		"[alerting]\nexecute_alerts = off":                                      func(s grafanaini.Settings) bool { return !s.ExecuteAlerts },
		"[alerting]\nexecute_alerts = true":                                     func(s grafanaini.Settings) bool { return s.ExecuteAlerts },
	} {
		if s := read(t, sources(), gossip, line); !get(s) {
			t.Errorf("%q: %+v", line, s)
		}
	}
	if s := read(t, sources("GF_ALERTING_EXECUTE_ALERTS=false"), gossip); s.ExecuteAlerts {
		t.Error("GF_ALERTING_EXECUTE_ALERTS=false: alerts are executed")
	}
}

// TestWithoutEffect sets each key that says so, whatever is selected.
func TestWithoutEffect(t *testing.T) {
	lines := []string{
		"resolved_alert_retention = 0s", "ha_reconnect_timeout = 2m", "ha_single_evaluation_alert_broadcast_queue_size = 0x10",
	}
	for _, chosen := range []string{gossip, broker, ""} {
		s := read(t, sources(), append(lines, chosen)...)
		for _, line := range lines {
			key, _, _ := strings.Cut(line, " ")
			if slices.ContainsFunc(s.Values, func(v grafanaini.Value) bool { return v.Key == key }) {
				t.Errorf("with %q, %s is shown as if it had an effect", chosen, key)
			}
			if !slices.ContainsFunc(s.Ignored, func(i grafanaini.Ignored) bool { return i.Key == key && !strings.Contains(i.Why, "is set") }) {
				t.Errorf("with %q, %s is not among %+v", chosen, key, s.Ignored)
			}
		}
	}
	if s := read(t, sources(), gossip); len(s.Ignored) != 0 {
		t.Errorf("not given, and ignored: %+v", s.Ignored)
	}
}

func TestDurations(t *testing.T) {
	day := 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"250ms": 250 * time.Millisecond, "1h30m": 90 * time.Minute, "1d": day, "2w": 14 * day, "12M": 365*day + 6*time.Hour, "1y": 365*day + 6*time.Hour,
		"": 15 * time.Second,
	} {
		if got := read(t, sources(), "ha_peer_timeout = "+text).PeerTimeout; got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

// TestEveryKey holds the tests above to the keys that exist.
func TestEveryKey(t *testing.T) {
	_, err := sources().Parse("custom.ini", []byte("[unified_alerting]\nha_nothing = 1\n"))
	if err == nil {
		t.Fatal("an unknown key is taken")
	}
	_, known, _ := strings.Cut(err.Error(), "(known: ")
	keys := strings.Split(strings.TrimSuffix(known, ")"), ", ")
	if len(keys) != 30 {
		t.Errorf("%d keys of high availability are known, want 30: %q", len(keys), keys)
	}
	var shown []string
	for _, s := range []grafanaini.Settings{read(t, sources(), gossip), read(t, sources(), broker)} {
		for _, v := range s.Values {
			if !slices.Contains(shown, v.Key) {
				shown = append(shown, v.Key)
			}
		}
	}
	for _, k := range keys {
		if !slices.Contains(shown, k) && k != "ha_reconnect_timeout" && k != "ha_single_evaluation_alert_broadcast_queue_size" {
			t.Errorf("no Value shows %s", k)
		}
	}
	tests, err := os.ReadFile("keys_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if !strings.Contains(string(tests), k+" = ") {
			t.Errorf("no test sets %s", k)
		}
	}
}

func TestErrorsAreOfConfig(t *testing.T) {
	if _, err := grafanaini.Load("testdata/absent.ini"); !errors.Is(err, backend.ErrConfig) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "absent.ini") {
		t.Errorf("Load of an absent file: %v", err)
	}
	if _, err := grafanaini.Load("testdata/full.ini"); err != nil {
		t.Errorf("Load: %v", err)
	}
}
