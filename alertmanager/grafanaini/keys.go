package grafanaini

import (
	"slices"
	"strings"
)

// section holds all keys but one.
const section = "unified_alerting"

// kind is the type of a key's value.
type kind int

const (
	text kind = iota
	boolean
	integer
	duration
	list
)

// group is what a key belongs to.
type group int

const (
	alerting group = iota // alerting itself
	shared                // high availability, whatever the backend
	gossip                // the backend memberlist
	broker                // the backend redis
)

// key is one key that is understood.
type key struct {
	name   string
	group  group
	kind   kind
	def    string
	param  string // what it becomes: a parameter of the backend, or one of backend.Keys
	secret bool
	least  int    // of an integer
	zero   bool   // a duration may be 0
	vain   string // why it has no effect; it is checked nevertheless
}

// keys lists them in the order in which they are shown and checked.
var keys = []key{
	{name: "enabled", kind: boolean, def: "true"},
	{name: "execute_alerts", kind: boolean, def: "true"},
	{name: "evaluation_timeout", kind: duration, def: "30s"},
	{name: "min_interval", kind: duration, def: "10s"},
	{name: "notification_log_retention", kind: duration, def: "5d"},
	{name: "alertmanager_max_silences_count", kind: integer, def: "0"},
	{name: "alertmanager_max_silence_size_bytes", kind: integer, def: "0"},
	{name: "resolved_alert_retention", kind: duration, def: "15m", zero: true, vain: "a resolved alert is sent for 15m, as Prometheus does"},

	{name: "ha_peer_timeout", group: shared, kind: duration, def: "15s"},
	{name: "ha_push_pull_interval", group: shared, kind: duration, def: "60s"},
	{name: "ha_single_node_evaluation", group: shared, kind: boolean, def: "false"},
	{name: "ha_single_evaluation_alert_broadcast_queue_size", group: shared, kind: integer, def: "200", least: 1, vain: "alerts wait in the queue of the cluster, which queue_items and queue_bytes bound; what does not fit is repaired"},

	{name: "ha_peers", group: gossip, kind: list, param: "peers"},
	{name: "ha_listen_address", group: gossip, def: "0.0.0.0:9094", param: "listen_address"},
	{name: "ha_advertise_address", group: gossip, param: "advertise_address"},
	{name: "ha_label", group: gossip, param: "label"},
	{name: "ha_gossip_interval", group: gossip, kind: duration, def: "200ms", param: "gossip_interval"},
	{name: "ha_reconnect_timeout", group: gossip, kind: duration, def: "6h", vain: "lost members are tried for ever, and their names looked up again"},

	{name: "ha_redis_address", group: broker, kind: list, param: "address"},
	{name: "ha_redis_peer_name", group: broker, param: "name"},
	{name: "ha_redis_username", group: broker, param: "username"},
	{name: "ha_redis_password", group: broker, param: "password", secret: true},
	{name: "ha_redis_db", group: broker, kind: integer, def: "0", param: "db"},
	{name: "ha_redis_prefix", group: broker, param: "prefix"},
	{name: "ha_redis_max_conns", group: broker, kind: integer, def: "5", param: "pool_size"},
	{name: "ha_redis_cluster_mode_enabled", group: broker, kind: boolean, def: "false", param: "mode"},
	{name: "ha_redis_sentinel_mode_enabled", group: broker, kind: boolean, def: "false", param: "mode"},
	{name: "ha_redis_sentinel_master_name", group: broker, param: "master_name"},
	{name: "ha_redis_sentinel_username", group: broker, param: "sentinel_username"},
	{name: "ha_redis_sentinel_password", group: broker, param: "sentinel_password", secret: true},
	{name: "ha_redis_tls_enabled", group: broker, kind: boolean, def: "false", param: "tls"},
	{name: "ha_redis_tls_ca_path", group: broker, param: "tls_ca_file"},
	{name: "ha_redis_tls_cert_path", group: broker, param: "tls_cert_file"},
	{name: "ha_redis_tls_key_path", group: broker, param: "tls_key_file"},
	{name: "ha_redis_tls_server_name", group: broker, param: "tls_server_name"},
	{name: "ha_redis_tls_insecure_skip_verify", group: broker, kind: boolean, def: "false", param: "tls_skip_verify"},
	{name: "ha_redis_tls_cipher_suites", group: broker, kind: list, param: "tls_cipher_suites"},
	{name: "ha_redis_tls_min_version", group: broker, param: "tls_min_version"},
}

// grafanasOwn are further keys of the section, which have no meaning here.
var grafanasOwn = []string{
	"max_attempts", "initial_retry_delay", "max_retry_delay", "randomization_factor", "disable_jitter",
	"scheduler_tick_interval", "max_state_save_concurrency", "state_periodic_save_interval",
	"state_periodic_save_batch_size", "state_periodic_save_jitter_enabled", "state_compressed_periodic_save_enabled",
	"state_compressed_periodic_save_interval", "alertmanager_config_poll_interval", "admin_config_poll_interval",
	"alertmanager_max_template_output_bytes", "backtesting_max_evaluations", "disabled_orgs", "initialization_timeout",
	"rule_version_record_limit", "deleted_rule_retention",
}

// ownSections are further sections of Grafana's alerting, with those below them.
var ownSections = []string{
	section + ".screenshots", section + ".reserved_labels", section + ".state_history", section + ".notification_history",
	section + ".prometheus_conversion", "remote.alertmanager", "recording_rules", "annotations.alerting",
}

// ownKeys are the keys of Grafana's alerting in sections that have others too.
var ownKeys = map[string][]string{
	"quota": {"alerting_rule_group_rules", "alerting_rule_evaluation_results", "org_alert_rule", "global_alert_rule"},
}

// isGrafanasOwn reports whether Grafana's alerting reads a key in another section, and
// this package does not.
func isGrafanasOwn(in, name string) bool {
	if in == older {
		return !slices.Contains(olderKeys, name)
	}
	return slices.Contains(ownKeys[in], name) || strings.HasPrefix(in, section+".") ||
		slices.ContainsFunc(ownSections, func(own string) bool { return in == own || strings.HasPrefix(in, own+".") })
}

// isOwnVariable is isGrafanasOwn of an environment variable, whose name no longer tells
// where the section ends.
func isOwnVariable(name string) bool {
	if key, ok := strings.CutPrefix(name, variableOf(older, "")); ok {
		return !slices.Contains(olderKeys, strings.ToLower(key))
	}
	for in, names := range ownKeys {
		if slices.ContainsFunc(names, func(key string) bool { return name == variableOf(in, key) }) {
			return true
		}
	}
	return slices.ContainsFunc(ownSections, func(own string) bool { return strings.HasPrefix(name, variableOf(own, "")) }) ||
		slices.ContainsFunc(grafanasOwn, func(key string) bool { return name == variableOf(section, key) })
}

func find(name string) (key, bool) {
	i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

// isHA reports whether name is meant to be a key of high availability.
func isHA(name string) bool { return strings.HasPrefix(strings.ToLower(name), "ha_") }

// names returns the names of the keys that are understood, or of those of high
// availability alone.
func names(haOnly bool) []string {
	var all []string
	for _, k := range keys {
		if !haOnly || isHA(k.name) {
			all = append(all, k.name)
		}
	}
	return all
}
