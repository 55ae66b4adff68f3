package grafanaini_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestRefused gives what Grafana silently accepts, or refuses itself.
func TestRefused(t *testing.T) {
	tls := "ha_redis_tls_enabled = true"
	for _, c := range []struct {
		lines string // separated by "|"; the last one is the culprit, at line 1 + their number
		want  string // words of the error, separated by "|"
	}{
		{"enabled = maybe", `enabled|"maybe"|neither true nor false`},
		{"execute_alerts = nope", `execute_alerts|"nope"`},
		{"evaluation_timeout = 30", `evaluation_timeout|"30"|is not a duration`},
		{"min_interval = 15s", `min_interval|"15s"|multiple of 10s`},
		{"min_interval = 0s", `min_interval|"0s"|too short`},
		{"[alerting]|min_interval_seconds = 15", `min_interval_seconds|"15"|multiple of 10`},
		{"[alerting]|evaluation_timeout_seconds = 30s", `evaluation_timeout_seconds|"30s"|in seconds`},
		{"[alerting]|evaluation_timeout_seconds = 0", `evaluation_timeout_seconds|"0"`},
		{"notification_log_retention = 1d12h", `notification_log_retention|"1d12h"|is not a duration`},
		{"notification_log_retention = 99999999y", `notification_log_retention|longer than`},
		{"resolved_alert_retention = -1s", `resolved_alert_retention|"-1s"|negative`},
		{"ha_peer_timeout = fast", `ha_peer_timeout|"fast"|15s`},
		{"ha_peer_timeout = 0s", `ha_peer_timeout|too short`},
		{"ha_reconnect_timeout = -2m", `ha_reconnect_timeout|negative`},
		{"ha_gossip_interval = 200", `ha_gossip_interval|"200"|is not a duration`},
		{"ha_push_pull_interval = 60", `ha_push_pull_interval|"60"`},
		{"ha_single_node_evaluation = enabled", `ha_single_node_evaluation|"enabled"`},
		{"ha_single_node_evaluation = true", `ha_single_node_evaluation|needs high availability|ha_peers`},
		{"ha_single_evaluation_alert_broadcast_queue_size = 0", `queue_size|"0"|at least 1`},

		{"ha_peers = a:1,,b:2", `ha_peers|"a:1,,b:2"|empty item, number 2`},
		{"ha_peers = a:1,", `ha_peers|empty item, number 2`},
		{"ha_peers = ,", `ha_peers|empty item, number 1`},
		{"ha_peers = a:1, b", `ha_peers|number 2|host:port`},
		{"ha_peers = 3", `ha_peers|host:port`},
		{"ha_peers = fd00::1:9094", `ha_peers|host:port|[fd00::2]:9094`},
		{"ha_peers = a:http", `ha_peers|host:port`},
		{"ha_peers = :9094", `ha_peers|host:port`},
		{"ha_peers = ${POD_IP}:9094", `ha_peers|POD_IP is not set`},
		{gossip + "|ha_listen_address = ${POD_IP}:9094", `ha_listen_address|POD_IP is not set`},
		{gossip + "|ha_listen_address = $__env{POD_IP}:9094", `ha_listen_address|POD_IP is not set`},
		{gossip + "|ha_listen_address = ${EMPTY}:9094", `ha_listen_address|":9094" (written ${EMPTY}:9094)|no host`},
		{gossip + "|ha_listen_address = localhost:9094", `ha_listen_address|"localhost:9094"|IP address`},
		{gossip + "|ha_listen_address = 0.0.0.0", `ha_listen_address|and a port`},
		{gossip + "|ha_advertise_address = ${EMPTY}:9094", `ha_advertise_address|written ${EMPTY}:9094`},
		{gossip + "|ha_advertise_address = node-1:9094", `ha_advertise_address|"node-1:9094"|IP address`},
		{gossip + "|ha_advertise_address = 10.0.0.5", `ha_advertise_address|and a port`},
		{gossip + "|ha_advertise_address = 0.0.0.0:9094", `ha_advertise_address|others can reach`},
		{gossip + "|ha_label = " + strings.Repeat("x", 201), `ha_label|201 bytes|at most 200`},

		{"ha_redis_address = r", `ha_redis_address|"r"|host:port|6379`},
		{"ha_redis_address = r:6379,", `ha_redis_address|empty item`},
		{"ha_redis_address = redis://u:s3cret@r:6379", `ha_redis_address|not shown|host:port`},
		{broker + "|ha_redis_db = zero", `ha_redis_db|"zero"|whole number`},
		{broker + "|ha_redis_db = -1", `ha_redis_db|at least 0`},
		{broker + "|ha_redis_max_conns = -1", `ha_redis_max_conns|at least 0`},
		{broker + "|ha_redis_max_conns = many", `ha_redis_max_conns|"many"`},
		{broker + "|ha_redis_sentinel_mode_enabled = true", `ha_redis_sentinel_mode_enabled|ha_redis_sentinel_master_name`},
		{broker + "|ha_redis_sentinel_master_name = m|ha_redis_sentinel_mode_enabled = true|ha_redis_cluster_mode_enabled = true", `ha_redis_cluster_mode_enabled|excludes ha_redis_sentinel_mode_enabled`},
		{broker + "|ha_redis_sentinel_master_name = m|ha_redis_cluster_mode_enabled = true", `ha_redis_cluster_mode_enabled|excludes ha_redis_sentinel_master_name`},
		{broker + "|ha_redis_cluster_mode_enabled = ja", `ha_redis_cluster_mode_enabled|"ja"`},
		{broker + "|ha_redis_cluster_mode_enabled = true|ha_redis_db = 1", `ha_redis_db|database 0`},
		{"ha_redis_address = a:1,b:2|ha_redis_db = 1", `ha_redis_db|more than one address`},
		{broker + "|ha_redis_sentinel_username = u", `ha_redis_sentinel_username|ha_redis_sentinel_master_name`},
		{broker + "|ha_redis_sentinel_password = s3cret", `ha_redis_sentinel_password|not shown`},
		{broker + "|ha_redis_username = u", `ha_redis_username|ha_redis_password`},
		{broker + "|ha_redis_peer_name = node 1", `ha_redis_peer_name|"node 1"|letters`},
		{broker + "|ha_redis_prefix = blue*", `ha_redis_prefix|"blue*"|wildcards`},
		{broker + "|ha_redis_tls_ca_path = /ca", `ha_redis_tls_ca_path|ha_redis_tls_enabled is false`},
		{broker + "|ha_redis_tls_insecure_skip_verify = true", `ha_redis_tls_insecure_skip_verify|ha_redis_tls_enabled is false`},
		{broker + "|" + tls + "|ha_redis_tls_cert_path = /c", `ha_redis_tls_cert_path|ha_redis_tls_key_path`},
		{broker + "|" + tls + "|ha_redis_tls_key_path = /k", `ha_redis_tls_key_path|ha_redis_tls_cert_path`},
		{broker + "|" + tls + "|ha_redis_tls_min_version = 1.2", `ha_redis_tls_min_version|"1.2"|VersionTLS12`},
		{broker + "|" + tls + "|ha_redis_tls_cipher_suites = TLS_RSA_WITH_RC4_128_SHA,ROT13", `ha_redis_tls_cipher_suites|ROT13`},

		{broker + "|ha_redis_password = s3cret#more", `ha_redis_password|"#"|backquotes`},
		{broker + "|ha_redis_password = \"s3cret #more\"", `ha_redis_password|"#"|backquotes`},
		{broker + "|ha_redis_password = s3cret;more", `ha_redis_password|";"|backquotes`},
		{broker + "|ha_redis_password = $__file{/absent}", `ha_redis_password|/absent|not exist`},
		{broker + "|ha_redis_password = $__vault{path}", `ha_redis_password|$__vault{}|$__file`},
		{broker + "|ha_redis_password = %(ha_redis_username)s|ha_redis_username = %(ha_redis_password)s", `ha_redis_username|leads back`},
		{"loop = %(loop)s|ha_label = %(loop)s", `ha_label|leads back`},

		{"ha_peer = a:1", `"ha_peer"|did you mean ha_peers?|ha_redis_address`},
		{"HA_PEERS = a:1", `"HA_PEERS"|did you mean ha_peers?`},
		{gossip + "|" + gossip, `ha_peers|given 2 times`},
		{"[alerting]|execute_alerts = ja", `[alerting] execute_alerts|"ja"`},
		{"[alerting]|ha_peers = a:1", `[alerting] ha_peers|put it under [unified_alerting]`},
		{"what is this", `is no section`},
		{"= s3cret", `no key before`},
	} {
		lines := strings.Split(c.lines, "|")
		_, err := sources().Parse("custom.ini", []byte("[unified_alerting]\n"+strings.Join(lines, "\n")))
		if !errors.Is(err, backend.ErrConfig) {
			t.Errorf("%q: %v, want ErrConfig", c.lines, err)
			continue
		}
		words := strings.Split(c.want, "|")
		for i, word := range words {
			if strings.HasPrefix(word, `"ha_`) || strings.HasPrefix(word, `"HA_`) {
				words[i] = strings.Trim(word, `"`)
			}
		}
		for _, word := range append(words, "custom.ini: line "+string(rune('1'+len(lines)))+": ") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q: %v; it lacks %q", c.lines, err, word)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error shows a secret: %v", c.lines, err)
		}
	}
}

func TestRefusedText(t *testing.T) {
	for text, want := range map[string]string{
		"[unified_alerting\nha_peers = a:1":                 "not closed",
		"[Unified_Alerting]\nha_peers = a:1":                "written [unified_alerting]",
		"[unified_alerting]\nha_redis_password = `s3cret\n": "not closed",
		"[unified_alerting]\nha_redis_password s3cret\n":    "line 2",
		"ha_peers = a:1": "put it under [unified_alerting]",
		"a = %(b)s\nb = %(a)s\n[unified_alerting]\nha_label = %(a)s": "leads back",
	} {
		_, err := sources().Parse("custom.ini", []byte(text))
		if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), "custom.ini") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, want ErrConfig that says %q and no secret", text, err, want)
		}
	}
}

// TestReferencesStayBounded gives keys that would double twenty-nine times.
func TestReferencesStayBounded(t *testing.T) {
	text := "[unified_alerting]\nha_label = %(k0)s\n"
	for i := range 29 {
		text += fmt.Sprintf("k%d = %%(k%d)s%%(k%d)s\n", i, i+1, i+1)
	}
	start := time.Now()
	_, err := sources().Parse("custom.ini", []byte(text+"k29 = 0123456789\n"))
	if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("%v, want ErrConfig that says how long a value may be", err)
	}
	if _, err := sources().Parse("custom.ini", []byte(text+"k29 = ${EMPTY}\n")); err != nil {
		t.Errorf("of empty values: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestRefusedEnvironment(t *testing.T) {
	for variable, want := range map[string]string{
		"GF_UNIFIED_ALERTING_HA_PEER=a:1":                      "did you mean ha_peers?",
		"GF_UNIFIED_ALERTING_HA_PEERS=a":                       "host:port",
		"GF_UNIFIED_ALERTING_HA_REDIS_DB=s":                    "whole number",
		"GF_UNIFIED_ALERTING_HA_REDIS_PASSWORD__FILE=/run/pwd": "$__file{",
		"GF_UNIFIED_ALERTING_MIN_INTERVAL=1s":                  "multiple",
		"GF_ALERTING_EXECUTE_ALERTS=maybe":                     "neither true nor false",
	} {
		name, _, _ := strings.Cut(variable, "=")
		_, err := sources(variable).Parse("custom.ini", nil)
		if !errors.Is(err, backend.ErrConfig) || !strings.HasPrefix(err.Error(), name+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ErrConfig that begins with the variable and says %q", variable, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"kubernetes.ini", "hosts.ini", "redis.ini", "full.ini"} {
		f.Add(testdata(f, name))
	}
	f.Add([]byte("[unified_alerting]\nha_peers = a:1\nha_label = %(a)s\na = %(b)s%(b)s\nb = $__env{POD_IP}\n"))
	f.Add([]byte("[unified_alerting]\nha_redis_address = r:1\nha_redis_password = \"\"\"a\nb\"\"\"\n"))
	s := sources("POD_IP=10.1.2.3")
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, err := s.Parse("custom.ini", text)
		switch {
		case err != nil && !errors.Is(err, backend.ErrConfig):
			t.Errorf("%v, want ErrConfig", err)
		case err == nil && settings.PeerTimeout <= 0:
			t.Errorf("a peer timeout of %v", settings.PeerTimeout)
		case err == nil && settings.Config.Backend == "redis" && settings.Config.Params["address"] == "":
			t.Errorf("redis without an address: %v", settings.Config.Params)
		}
	})
}
