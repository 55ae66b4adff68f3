package status

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Counter is one number of the metrics.
type Counter struct {
	Name  string  `json:"name"` // what it counts, in words
	Of    string  `json:"of"`   // the metric, with its labels but the cluster
	Value float64 `json:"value"`
}

// shown are the metrics of the page, in order, and what they are.
var shown = []struct{ metric, words string }{
	{"alertmanager_cluster_messages_sent_total", "Messages sent"},
	{"alertmanager_cluster_messages_received_total", "Messages received"},
	{"alertmanager_cluster_messages_queued", "Updates that wait to be sent"},
	{"alertmanager_cluster_messages_publish_failures_total", "Messages that could not be sent"},
	{"clusterchannel_dropped_total", "Updates dropped"},
	{"clusterchannel_gaps_total", "Gaps repaired"},
	{"clusterchannel_resyncs_total", "State exchanges"},
	{"clusterchannel_frames_rejected_total", "Frames rejected"},
	{"clusterchannel_duplicates_total", "Duplicates"},
	{"clusterchannel_state_errors_total", "Errors of states"},
	{"clusterchannel_members_failed_total", "Members that failed"},
	{"alertmanager_cluster_peers_left_total", "Members that left"},
	{"alertmanager_cluster_reconnections_total", "Times attached again"},
	{"alertmanager_cluster_reconnections_failed_total", "Attempts to attach that failed"},
	{"alertmanager_cluster_pings_failures_total", "Round trips that failed"},
}

// figures are the metrics of one cluster.
type figures struct {
	families    map[string][]*dto.Metric
	propagation buckets
}

// gather reads the metrics of cluster. It leaves out what cannot be read: a
// page that shows the rest is better than none.
func gather(g prometheus.Gatherer, cluster string) figures {
	f := figures{families: map[string][]*dto.Metric{}}
	if g == nil {
		return f
	}
	families, _ := g.Gather() // some metrics come together with an error
	for _, family := range families {
		name := family.GetName()
		if !strings.HasPrefix(name, "clusterchannel_") && !strings.HasPrefix(name, "alertmanager_cluster_") {
			continue
		}
		for _, m := range family.GetMetric() {
			if label(m, "cluster_name") != cluster {
				continue
			}
			f.families[name] = append(f.families[name], m)
			if h := m.GetHistogram(); name == "clusterchannel_propagation_seconds" && h != nil {
				f.propagation = bucketsOf(h)
			}
		}
	}
	return f
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// value is that of a counter or a gauge.
func value(m *dto.Metric) float64 {
	if m.GetCounter() != nil {
		return m.GetCounter().GetValue()
	}
	return m.GetGauge().GetValue()
}

// by sums the series of a metric whose label has that value.
func (f figures) by(metric, name, want string) (sum float64) {
	for _, m := range f.families[metric] {
		if label(m, name) == want {
			sum += value(m)
		}
	}
	return sum
}

// sum adds up the series of a metric.
func (f figures) sum(metric string) (sum float64) {
	for _, m := range f.families[metric] {
		sum += value(m)
	}
	return sum
}

// roundTrip returns the mean of those to a peer, nil where there was none.
func (f figures) roundTrip(peer string) *float64 {
	for _, m := range f.families["alertmanager_cluster_pings_seconds"] {
		if h := m.GetHistogram(); label(m, "peer") == peer && h.GetSampleCount() > 0 {
			mean := h.GetSampleSum() / float64(h.GetSampleCount())
			return &mean
		}
	}
	return nil
}

// counters lists the counters to show. A metric with labels has one line for
// each series above zero, or one line of zero.
func (f figures) counters() []Counter {
	var all []Counter
	for _, s := range shown {
		series, before := f.families[s.metric], len(all)
		for _, m := range series {
			if labels := labelsOf(m); value(m) != 0 || labels == "" {
				all = append(all, Counter{s.words, s.metric + labels, value(m)})
			}
		}
		if len(all) == before && len(series) > 0 {
			all = append(all, Counter{s.words, s.metric, 0})
		}
	}
	return all
}

func labelsOf(m *dto.Metric) string {
	var pairs []string
	for _, l := range m.GetLabel() {
		if l.GetName() != "cluster_name" {
			pairs = append(pairs, l.GetName()+"="+l.GetValue())
		}
	}
	if len(pairs) == 0 {
		return ""
	}
	return "{" + strings.Join(pairs, ",") + "}"
}
