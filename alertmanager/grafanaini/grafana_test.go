package grafanaini_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
)

// grafanas are the settings that Grafana reads for alerting, by section, each with a
// value that is valid there.
//
// Source: pkg/setting/setting_unified_alerting.go of grafana/grafana as it was in
// January or February 2026, by its content; keys of 8.2 to 12, where that has them no
// more; pull request 118822 (the queue of broadcasts); and the documents of 12.3 to
// 13.2 (state_compressed_...). Not compared: conf/defaults.ini of 13.2 and later, and
// setting_quota.go, whose keys are those of the documents.
var grafanas = map[string][]string{
	"unified_alerting": {
		"enabled=true", "disabled_orgs=1", "initialization_timeout=30s", "admin_config_poll_interval=60s", "alertmanager_config_poll_interval=60s",
		"alertmanager_max_silence_size_bytes=100", "alertmanager_max_silences_count=7", "alertmanager_max_template_output_bytes=10485760",
		"ha_peer_timeout=15s", "ha_gossip_interval=200ms", "ha_reconnect_timeout=6h", "ha_push_pull_interval=60s", "ha_listen_address=0.0.0.0:9094",
		"ha_advertise_address=10.0.0.1:9094", "ha_label=x", "ha_peers=a:1", "ha_redis_cluster_mode_enabled=false", "ha_redis_sentinel_mode_enabled=false",
		"ha_redis_sentinel_master_name=m", "ha_redis_sentinel_username=u", "ha_redis_sentinel_password=p", "ha_redis_address=r:1", "ha_redis_peer_name=n",
		"ha_redis_prefix=x", "ha_redis_username=u", "ha_redis_password=p", "ha_redis_db=0", "ha_redis_max_conns=5", "ha_redis_tls_enabled=true",
		"ha_redis_tls_cert_path=/c", "ha_redis_tls_key_path=/k", "ha_redis_tls_ca_path=/ca", "ha_redis_tls_server_name=n",
		"ha_redis_tls_insecure_skip_verify=false", "ha_redis_tls_cipher_suites=TLS_AES_128_GCM_SHA256", "ha_redis_tls_min_version=VersionTLS12",
		"ha_single_node_evaluation=false", "ha_single_evaluation_alert_broadcast_queue_size=200", "execute_alerts=true", "evaluation_timeout=30s",
		"max_attempts=3", "initial_retry_delay=1s", "max_retry_delay=4s", "randomization_factor=0.1", "disable_jitter=false", "scheduler_tick_interval=10s",
		"min_interval=10s", "max_state_save_concurrency=1", "state_periodic_save_interval=5m", "state_periodic_save_batch_size=1",
		"state_periodic_save_jitter_enabled=false", "state_compressed_periodic_save_enabled=true", "state_compressed_periodic_save_interval=5m",
		"notification_log_retention=5d", "resolved_alert_retention=15m", "rule_version_record_limit=0", "deleted_rule_retention=30d", "backtesting_max_evaluations=100",
	},
	"unified_alerting.screenshots":                          {"capture=false", "capture_timeout=10s", "max_concurrent_screenshots=5", "upload_external_image_storage=false"},
	"unified_alerting.reserved_labels":                      {"disabled_labels=grafana_folder"},
	"unified_alerting.state_history":                        {"enabled=true", "backend=loki", "primary=loki", "secondaries=annotations", "loki_remote_url=u", "loki_remote_read_url=u", "loki_remote_write_url=u", "loki_tenant_id=1", "loki_basic_auth_username=u", "loki_basic_auth_password=p", "loki_max_query_length=721h", "loki_max_query_size=65536", "prometheus_metric_name=n", "prometheus_target_datasource_uid=u", "prometheus_write_timeout=10s"},
	"unified_alerting.state_history.external_labels":        {"a=b"},
	"unified_alerting.notification_history":                 {"enabled=true", "loki_remote_url=u"},
	"unified_alerting.notification_history.external_labels": {"a=b"},
	"unified_alerting.prometheus_conversion":                {"rule_query_offset=1m", "default_datasource_uid=u"},
	"remote.alertmanager":                                   {"url=u", "tenant=t", "password=p", "sync_interval=5m", "timeout=30s"},
	"recording_rules":                                       {"enabled=true", "timeout=10s", "default_datasource_uid=u", "url=u", "basic_auth_username=u", "basic_auth_password=p"},
	"recording_rules.custom_headers":                        {"X-My=y"},
	"quota":                                                 {"alerting_rule_group_rules=100", "alerting_rule_evaluation_results=-1", "org_alert_rule=100", "global_alert_rule=-1"},
	"alerting":                                              {"enabled=false", "execute_alerts=true", "error_or_timeout=alerting", "nodata_or_nullvalues=no_data", "concurrent_render_limit=5", "evaluation_timeout_seconds=45", "notification_timeout_seconds=30", "max_attempts=3", "min_interval_seconds=20", "max_annotation_age=1d", "max_annotations_to_keep=9"},
	"annotations.alerting":                                  {"max_age=1d", "max_annotations_to_keep=9"},
}

// Each setting that Grafana's alerting reads has its effect, or is named among what
// has none, by the file and by the environment.
func TestEverySettingOfGrafana(t *testing.T) {
	var lines, environ []string
	var names, variables []string
	for _, in := range slices.Sorted(maps.Keys(grafanas)) {
		lines = append(lines, "["+in+"]")
		for _, setting := range grafanas[in] {
			name, text, _ := strings.Cut(setting, "=")
			lines = append(lines, name+" = "+text)
			variable := "GF_" + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(in+"_"+name))
			environ, variables = append(environ, variable+"="+text), append(variables, variable)
			if in != "unified_alerting" {
				name = "[" + in + "] " + name
			}
			names = append(names, name)
		}
	}
	// told are the settings that s tells of, by their names in the file or as variables.
	told := func(s grafanaini.Settings) map[string]bool {
		all := map[string]bool{"[alerting] execute_alerts": true, "GF_ALERTING_EXECUTE_ALERTS": true} // as it is without them
		for _, v := range s.Values {
			all[v.Key], all[v.From] = true, true
			if v.Older != "" { // which counts in place of one that has its default
				all["[alerting] "+v.Older], all["GF_UNIFIED_ALERTING_"+strings.ToUpper(v.Key)] = true, true
			}
		}
		for _, i := range s.Ignored {
			all[i.Key], all["GF_UNIFIED_ALERTING_"+strings.ToUpper(i.Key)] = true, true
			if strings.Contains(i.Why, "not a") {
				t.Errorf("%s: %s", i.Key, i.Why)
			}
		}
		return all
	}
	s, err := sources().Parse("custom.ini", []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	have := told(s)
	for _, name := range names {
		if !have[name] {
			t.Errorf("of the file, nothing tells of %s", name)
		}
	}
	if s.MaxSilences != 7 || s.MaxSilenceSize != 100 {
		t.Errorf("limits of silences: %d, %d", s.MaxSilences, s.MaxSilenceSize)
	}
	if s, err = sources(environ...).Parse("custom.ini", nil); err != nil {
		t.Fatal(err)
	}
	have = told(s)
	for _, variable := range variables {
		if !have[variable] {
			t.Errorf("of the environment, nothing tells of %s", variable)
		}
	}
}

// A key of the older section that decides is shown with its value and its place.
func TestOlderSectionIsShown(t *testing.T) {
	show := func(environ string, lines ...string) (shown []grafanaini.Value) {
		for _, v := range read(t, sources(environ), lines...).Values {
			if v.Older != "" {
				shown = append(shown, v)
			}
		}
		return shown
	}
	got := show("A=b", "[alerting]", "execute_alerts = false", "evaluation_timeout_seconds = 45", "min_interval_seconds = 10")
	want := []grafanaini.Value{
		{Key: "execute_alerts", Text: "false", Source: grafanaini.File, From: "custom.ini", Line: 3, Older: "execute_alerts"},
		{Key: "evaluation_timeout", Text: "45s", Source: grafanaini.File, From: "custom.ini", Line: 4, Older: "evaluation_timeout_seconds"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	got = show("GF_ALERTING_MIN_INTERVAL_SECONDS=60", "evaluation_timeout = 1m", "[alerting]", "evaluation_timeout_seconds = 45", "min_interval_seconds = 20")
	want = []grafanaini.Value{{Key: "min_interval", Text: "1m0s", Source: grafanaini.Environment, From: "GF_ALERTING_MIN_INTERVAL_SECONDS", Older: "min_interval_seconds"}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A slip in a variable's name is told like one in the file.
func TestSlipsInTheEnvironment(t *testing.T) {
	s := read(t, sources("GF_UNIFIED_ALERTING_EXECUTE_ALERT=false", "GF_UNIFIED_ALERTING_EMPTY=", "GF_SERVER_HTTP_PORT=1"), gossip)
	if len(s.Ignored) != 1 || s.Ignored[0].Key != "GF_UNIFIED_ALERTING_EXECUTE_ALERT" || !strings.Contains(s.Ignored[0].Why, "did you mean execute_alerts?") {
		t.Errorf("%+v", s.Ignored)
	}
}
