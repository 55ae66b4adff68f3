package grafanaini_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
)

func TestSeed(t *testing.T) {
	pod := sources("POD_IP=10.1.2.3")
	for file, want := range map[string]struct {
		backend string
		params  map[string]string
	}{
		"kubernetes.ini": {"memberlist", map[string]string{
			"listen_address": "10.1.2.3:9094", "advertise_address": "10.1.2.3:9094", "peers": "grafana-alerting.grafana:9094",
		}},
		"hosts.ini": {"memberlist", map[string]string{"listen_address": "0.0.0.0:9094", "peers": "10.0.0.5:9094,10.0.0.6:9094,10.0.0.7:9094"}},
		"redis.ini": {"redis", map[string]string{
			"address": "redis.example:6379", "username": "alerting", "password": "s3cret", "prefix": "grafana-blue", "mode": "single",
		}},
	} {
		s, err := pod.Parse(file, testdata(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if s.Config.Backend != want.backend || !s.Enabled || s.PeerTimeout.String() != "15s" {
			t.Errorf("%s: %+v, want %s with a peer timeout of 15s", file, s, want.backend)
		}
		for key, value := range want.params {
			if got := s.Config.Params[key]; got != value {
				t.Errorf("%s: %s is %q, want %q", file, key, got, value)
			}
		}
	}
}

// TestExpansion compares the values of ha_label.
func TestExpansion(t *testing.T) {
	environ := []string{"NAME=blue", "TWICE=${NAME}", "INDIRECT=$__file{/etc/peers}", "HOSTNAME="}
	for text, want := range map[string]string{
		"${NAME}":                  "blue",
		"$__env{NAME}":             "blue",
		"a-${NAME}-$__env{NAME}-b": "a-blue-blue-b",
		"$NAME":                    "$NAME",
		"${TWICE}":                 "${NAME}",
		"$__file{/etc/peers}":      "a:1, b:2",
		"${INDIRECT}":              "a:1, b:2",
		"${HOSTNAME}":              "host-7",
		"x${EMPTY}":                "x",
		`"quoted"`:                 "quoted",
		`'quoted'`:                 "quoted",
		`"${NAME}"`:                "blue",
		"`a # b`":                  "a # b",
		`"""a ; b"""`:              "a ; b",
		"plain # comment":          "plain",
		"plain ; comment":          "plain",
		"\"quoted\" # comment":     "quoted",
		"one\\\n  two":             "onetwo",
		"%(mine)s-x":               "blue-x",
		"%(outside)s":              "far",
		"%(nowhere)s":              "%(nowhere)s",
		"%(ha_peer_timeout)s":      "15s",
		"100%":                     "100%",
	} {
		s, err := sources(environ...).Parse("custom.ini", []byte("outside = far\n[unified_alerting]\nmine = ${NAME}\n"+gossip+"\nha_label = "+text+"\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := s.Config.Params["label"]; got != want {
			t.Errorf("%s is read as %q, want %q", text, got, want)
		}
	}
}

func TestByteOrderMark(t *testing.T) {
	s, err := sources().Parse("custom.ini", []byte("\ufeff[unified_alerting]\r\nha_peers = a:1\r\nmax_attempts = 3\r\n"))
	if err != nil || s.Config.Params["peers"] != "a:1" || len(s.Ignored) != 1 || s.Ignored[0].Line != 3 {
		t.Errorf("%+v, %v, want the peer, and line 3 ignored", s, err)
	}
}

func TestEnvironmentOverrides(t *testing.T) {
	s := read(t, sources("GF_UNIFIED_ALERTING_HA_PEERS=c:3,d:4", "GF_UNIFIED_ALERTING_HA_LABEL=", "GF_UNIFIED_ALERTING_HA_GOSSIP_INTERVAL=$__env{EVERY}", "EVERY=1s"),
		"ha_peers = a:1", "ha_label = blue", "ha_gossip_interval = 5s")
	for key, want := range map[string]string{"peers": "c:3,d:4", "label": "blue", "gossip_interval": "1s"} {
		if got := s.Config.Params[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for key, want := range map[string]grafanaini.Value{
		"ha_peers":           {Key: "ha_peers", Param: "peers", Text: "c:3,d:4", Source: grafanaini.Environment, From: "GF_UNIFIED_ALERTING_HA_PEERS"},
		"ha_label":           {Key: "ha_label", Param: "label", Text: "blue", Source: grafanaini.File, From: "custom.ini", Line: 3},
		"ha_listen_address":  {Key: "ha_listen_address", Param: "listen_address", Text: "0.0.0.0:9094", Source: grafanaini.Default},
		"execute_alerts":     {Key: "execute_alerts", Text: "true", Source: grafanaini.Default},
		"ha_gossip_interval": {Key: "ha_gossip_interval", Param: "gossip_interval", Text: "1s", Source: grafanaini.Environment, From: "GF_UNIFIED_ALERTING_HA_GOSSIP_INTERVAL"},
	} {
		if i := slices.IndexFunc(s.Values, func(v grafanaini.Value) bool { return v.Key == key }); i < 0 || s.Values[i] != want {
			t.Errorf("%s: %+v, want %+v among them", key, s.Values, want)
		}
	}
	if s := read(t, sources("GF_UNIFIED_ALERTING_HA_REDIS_ADDRESS=r:1"), "ha_peers = a:1"); s.Config.Backend != "redis" {
		t.Errorf("an address in the environment selects %q, want redis", s.Config.Backend)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	s := read(t, sources("PW=s3cret"), broker, "ha_redis_password = ${PW}", "ha_redis_sentinel_master_name = m",
		"ha_redis_sentinel_password = $__file{/run/secrets/redis}", "ha_redis_prefix = %(ha_redis_password)s")
	secrets := 0
	for _, v := range s.Values {
		if strings.Contains(v.Text, "s3cret") {
			t.Errorf("%s shows a secret: %+v", v.Key, v)
		}
		if v.Secret && v.Text != "" {
			secrets++
		}
	}
	if secrets != 3 || s.Config.Params["password"] != "s3cret" || s.Config.Params["sentinel_password"] != "s3cret" {
		t.Errorf("%d secrets, %+v, want 3, and the values for the backend", secrets, s.Config.Params)
	}
}

func TestIgnored(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  map[string]string // what is ignored, and a piece of why
	}{
		"redis wins":        {[]string{broker, gossip, "ha_label = x"}, map[string]string{"ha_peers": "Redis wins", "ha_label": "Redis wins"}},
		"gossip":            {[]string{gossip, "ha_redis_password = s3cret"}, map[string]string{"ha_redis_password": "ha_redis_address is not set"}},
		"reconnect timeout": {[]string{gossip, "ha_reconnect_timeout = 2m"}, map[string]string{"ha_reconnect_timeout": "for ever"}},
		"off":               {[]string{"ha_listen_address = 1.2.3.4:5"}, map[string]string{"ha_listen_address": "high availability is off"}},
		"disabled":          {[]string{"enabled = false", gossip}, map[string]string{"ha_peers": "enabled is false"}},
		"Grafana's own":     {[]string{gossip, "max_attempts = 3", "disabled_orgs = 1"}, map[string]string{"max_attempts": "Grafana's own", "disabled_orgs": "Grafana's own"}},
		"other sections": {
			[]string{gossip, "[unified_alerting.screenshots]", "capture = true", "[unified_alerting.state_history.external_labels]", "a = b", "[remote.alertmanager]", "url = x",
				"[recording_rules]", "enabled = true", "[alerting]", "max_attempts = 5", "min_interval_seconds = 10", "[quota]", "alerting_rule_group_rules = 7", "org_user = 10", "[server]", "http_port = 1"},
			map[string]string{
				"[unified_alerting.screenshots] capture": "Grafana's own", "[unified_alerting.state_history.external_labels] a": "Grafana's own", "[remote.alertmanager] url": "Grafana's own",
				"[recording_rules] enabled": "Grafana's own", "[alerting] max_attempts": "Grafana's own", "[quota] alerting_rule_group_rules": "Grafana's own",
			},
		},
		"a slip":         {[]string{gossip, "execute_alert = no"}, map[string]string{"execute_alert": "did you mean execute_alerts?"}},
		"something else": {[]string{gossip, "colour = red"}, map[string]string{"colour": "not a key of high availability"}},
		"empty":          {[]string{broker, "ha_label ="}, nil},
	} {
		s := read(t, sources(), c.lines...)
		if len(s.Ignored) != len(c.want) {
			t.Errorf("%s: %+v, want %v", name, s.Ignored, c.want)
		}
		for _, i := range s.Ignored {
			if why := c.want[i.Key]; why == "" || !strings.Contains(i.Why, why) || i.Line < 2 || strings.Contains(i.Why, "s3cret") {
				t.Errorf("%s: %+v, want a line, and %q", name, i, why)
			}
		}
	}
}
