package conformance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

var metricsChecks = []*check{
	{name: "metrics/same-names", level: basic, rules: []int{22}, body: metricsSameNames,
		holds: "names, labels and types of metrics are the documented ones"},
}

// Metrics that checks look at.
const (
	metricLeft            = "alertmanager_cluster_peers_left_total"
	metricFailed          = "clusterchannel_members_failed_total"
	metricRejected        = "clusterchannel_frames_rejected_total"
	metricDropped         = "clusterchannel_dropped_total"
	metricPublishFailures = "alertmanager_cluster_messages_publish_failures_total"
	metricPings           = "alertmanager_cluster_pings_seconds"
	metricFailing         = "clusterchannel_pings_failing"
	metricDisagreements   = "clusterchannel_view_disagreements"
	metricUnready         = "clusterchannel_states_unready"
	metricGaps            = "clusterchannel_gaps_total"
	metricLost            = "clusterchannel_updates_lost_total"
)

// metricTable is what every backend exports: type and labels by name. The
// constant label cluster, which all have, is left out. Only metricPings and
// metricFailing may be absent, where a transport measures no round trips to members.
var metricTable = map[string]string{
	"alertmanager_cluster_messages_received_total":      "counter msg_type",
	"alertmanager_cluster_messages_received_size_total": "counter msg_type",
	"alertmanager_cluster_messages_sent_total":          "counter msg_type",
	"alertmanager_cluster_messages_sent_size_total":     "counter msg_type",
	metricPublishFailures:                               "counter msg_type reason",
	"alertmanager_cluster_members":                      "gauge",
	"alertmanager_peer_position":                        "gauge",
	metricPings:                                         "histogram peer",
	"alertmanager_cluster_pings_failures_total":         "counter",
	"alertmanager_cluster_health_score":                 "gauge",
	"alertmanager_cluster_messages_queued":              "gauge",
	"alertmanager_cluster_peers_joined_total":           "counter",
	metricLeft: "counter",
	"alertmanager_cluster_peers_update_total": "counter",
	metricFailed: "counter",
	"alertmanager_cluster_peer_name_conflicts_total":  "counter",
	"alertmanager_cluster_reconnections_total":        "counter",
	"alertmanager_cluster_reconnections_failed_total": "counter",
	"alertmanager_cluster_peer_info":                  "gauge peer",
	metricDropped:                                     "counter key reason",
	"clusterchannel_state_errors_total":               "counter key op",
	metricRejected:                                    "counter reason",
	"clusterchannel_duplicates_total":                 "counter",
	"clusterchannel_rebroadcasts_suppressed_total":    "counter",
	metricGaps: "counter",
	"clusterchannel_updates_asked_again_total": "counter",
	"clusterchannel_updates_sent_again_total":  "counter",
	metricLost:                              "counter",
	"clusterchannel_undelivered_total":      "counter",
	metricFailing:                           "gauge peer",
	"clusterchannel_view_disputes_total":    "counter",
	metricDisagreements:                     "gauge",
	metricUnready:                           "gauge",
	"clusterchannel_nodes_of_other_version": "gauge",
	"clusterchannel_incarnations_total":     "counter",
	"clusterchannel_clocks_apart":           "gauge",
	"clusterchannel_standstills_total":      "counter",
	"clusterchannel_limited_total":          "counter budget",
	"clusterchannel_resyncs_total":          "counter reason",
	"clusterchannel_propagation_seconds":    "histogram",
	"clusterchannel_attached":               "gauge",
	"clusterchannel_ready":                  "gauge",
	"clusterchannel_view_epoch":             "gauge",
}

func metricsSameNames(e *env) {
	const most = 1000
	limit := func(c *backend.Config) { c.MaxPayload = most }
	nodes := []*node{e.open("a", limit), e.open("b", limit)}
	e.agreed(nodes...)
	sets := addSets("set", nodes)
	var bad []backend.Channel // some series begin with their first event
	for _, n := range nodes {
		bad = append(bad, n.add("bad", stateFuncs{
			marshal: func() ([]byte, error) { return nil, errors.New("boom") },
			merge:   func([]byte) error { return errors.New("boom") },
		}))
	}
	for i, c := range bad {
		c.Broadcast(fmt.Appendf(nil, "an update of node %d", i))
		c.Broadcast(make([]byte, most+1))
	}
	sets[0].write([]byte("an entry"))
	e.eventually(e.limit(joiner), "the entry arrives", func() error {
		for _, n := range nodes {
			for _, op := range []string{"merge", "marshal"} {
				if n.metric("clusterchannel_state_errors_total", "op", op) == 0 {
					return fmt.Errorf("%s has counted no failed %s", n, op)
				}
			}
		}
		return holdAll(1, sets...)
	})
	for _, n := range nodes {
		have := n.exported()
		for _, name := range slices.Sorted(maps.Keys(metricTable)) {
			switch got, ok := have[name]; {
			case !ok && (name == metricPings || name == metricFailing): // their series begin with a round trip
			case !ok:
				e.Errorf("%s does not export %s", n, name)
			case got != metricTable[name]:
				e.Errorf("%s exports %s as %s, want %s", n, name, got, metricTable[name])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(have)) {
			if _, ok := metricTable[name]; !ok {
				e.Errorf("%s exports %s, %s, which is not documented", n, name, have[name])
			}
		}
	}
	for i, n := range nodes {
		if got := n.metric("alertmanager_cluster_members"); got != 2 {
			e.Errorf("%s counts %v members, want 2", n, got)
		}
		if got := n.metric("alertmanager_peer_position"); got != float64(i) {
			e.Errorf("%s shows the position %v, want %d", n, got, i)
		}
	}
	if got := nodes[0].metric("alertmanager_cluster_messages_sent_total", "msg_type", "update"); got < 1 {
		e.Errorf("%s has counted %v updates sent", nodes[0], got)
	}
	if got := nodes[1].metric("alertmanager_cluster_messages_received_total", "msg_type", "update"); got < 1 {
		e.Errorf("%s has counted %v updates received", nodes[1], got)
	}

	before := nodes[0].series()
	for i := range 5 {
		visitor := e.open(fmt.Sprintf("visitor-%d", i))
		e.agreed(append([]*node{visitor}, nodes...)...)
		visitor.close()
		e.agreed(nodes...)
	}
	if now := nodes[0].series(); now > before {
		e.Errorf("%s has %d series after 5 visitors left, before %d", nodes[0], now, before)
	}

	release := nodes[0].stall()
	defer release()
	sets[0].write([]byte("stuck"))
	start := time.Now()
	nodes[0].series()
	if took := e.since(start); took > e.scaled(200*time.Millisecond) {
		e.Errorf("a scrape took %v with a stalled transport", took)
	}
}

// exported returns the type and the labels of each metric of n.
func (n *node) exported() map[string]string {
	n.env.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		n.env.Errorf("%s: gather: %v", n, err)
	}
	have := map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			text := []string{strings.ToLower(f.GetType().String())}
			cluster := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "cluster_name" {
					cluster = l.GetValue()
				} else {
					text = append(text, l.GetName())
				}
			}
			if cluster != n.Cluster {
				n.env.Errorf("%s: %s has the label cluster=%q, want %q", n, f.GetName(), cluster, n.Cluster)
			}
			have[f.GetName()] = strings.Join(text, " ")
		}
	}
	return have
}
