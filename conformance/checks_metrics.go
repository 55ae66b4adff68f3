package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// Metrics that checks look at.
const (
	metricLeft            = "alertmanager_cluster_peers_left_total"
	metricFailed          = "clusterchannel_members_failed_total"
	metricRejected        = "clusterchannel_frames_rejected_total"
	metricPublishFailures = "alertmanager_cluster_messages_publish_failures_total"
)

// metricTable is what every backend exports: type and labels by name. The
// constant label cluster, which all have, is left out.
var metricTable = map[string]string{}

func metricsSameNames(e *env) {
	nodes := e.openAll("a", "b")
	sets := addSets("set", nodes)
	sets[0].write([]byte("an entry"))
	e.eventually(e.limit(joiner), "the entry arrives", func() error { return holdAll(1, sets...) })
	for _, n := range nodes {
		have := n.exported()
		for _, name := range slices.Sorted(maps.Keys(metricTable)) {
			switch got, ok := have[name]; {
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
	if took := time.Since(start); took > e.scaled(200*time.Millisecond) {
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
			have[f.GetName()] = kind(n, f, m)
		}
	}
	return have
}

func kind(n *node, f *dto.MetricFamily, m *dto.Metric) string {
	labels := []string{strings.ToLower(f.GetType().String())}
	cluster := ""
	for _, l := range m.GetLabel() {
		if l.GetName() == "cluster" {
			cluster = l.GetValue()
			continue
		}
		labels = append(labels, l.GetName())
	}
	if cluster != n.Cluster {
		n.env.Errorf("%s: %s has the label cluster=%q, want %q", n, f.GetName(), cluster, n.Cluster)
	}
	return strings.Join(labels, " ")
}
