// Package grafanaini reads the high availability settings of Grafana Alerting,
// section [unified_alerting] of an ini file, as a [backend.Config]:
//
//	[unified_alerting]
//	ha_listen_address = "${POD_IP}:9094"
//	ha_advertise_address = "${POD_IP}:9094"
//	ha_peers = "grafana-alerting.grafana:9094"
//
// # Selection
//
// ha_redis_address selects the backend redis; else ha_peers selects memberlist;
// else high availability is off and Config.Backend is empty. Keys of what is not
// selected are listed in [Settings] as ignored.
//
// # How a value is read
//
// Layers, the last one wins: the default, the file, and the environment variable
// GF_UNIFIED_ALERTING_ with the key in upper case. An empty text in a layer counts
// as not given. Where execute_alerts, evaluation_timeout and min_interval have their
// defaults, those of the older section [alerting] count. Then ${NAME} and $__env{NAME} are replaced by the variable (an
// unset HOSTNAME by the host's name), $__file{/path} by what the file holds
// without surrounding white space, and %(key)s by another key's value.
//
// The rest is Grafana's own syntax: one pair of quotes is stripped; "#" and ";"
// begin a comment even inside quotes, and are kept only in backquotes or three
// double quotes; a backslash at the end continues a line. Durations are Go's,
// or one whole number with d, w, M or y.
//
// # What is refused
//
// A setting that Grafana silently accepts, and that does not do what was meant,
// is an error. It wraps [backend.ErrConfig] and names file, line, section, key
// and value:
//
//   - a key ha_… that does not exist, one in another section, one given twice
//   - an environment variable that is not set; another expander than the two
//   - a boolean or a number that is none, a duration that is negative
//   - an empty item in a list, an address without a port, a "#" inside a value
//   - a listening or advertised address that is not of an IP address
//   - Sentinel and Cluster both asked for, a database number with a Cluster
//   - TLS files without ha_redis_tls_enabled, credentials of a Sentinel without one
//   - ha_single_node_evaluation without high availability
//
// No error and no [Value] shows a secret.
//
// # What differs
//
// Blanks after the commas of ha_redis_address are trimmed.
// ha_redis_cluster_mode_enabled makes a client of a Redis Cluster of one address
// too. Checked, and otherwise ignored, are ha_reconnect_timeout, because lost
// peers are tried for ever; ha_single_evaluation_alert_broadcast_queue_size,
// because alerts wait in the queue of the cluster; and
// resolved_alert_retention, because package scheduler sends a resolved alert
// for 15m as Prometheus does. An empty ha_redis_peer_name means the host's
// name. Without ha_redis_prefix the backend's own prefix is used. Nodes in one
// cluster with Grafana's own Redis peers need the parameter wire, for which
// Grafana has no key.
package grafanaini
