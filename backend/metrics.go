package backend

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// budgets are the values of the label budget of clusterchannel_limited_total.
var budgets = []string{"answers", "askers", "bytes", "exchanges", "guests", "lists", "members", "pushes", "strangers"}

// reasonOf returns the label for what the core does not believe.
func reasonOf(text string) string {
	if slices.Contains(rejectReasons, text) {
		return text
	}
	return "malformed"
}

// metrics are the series of one channel, the same on every backend. Those named
// alertmanager_ keep the names and the meaning of Prometheus Alertmanager. No
// scrape does I/O, and no label holds the name of a member that is gone.
type metrics struct {
	received, receivedBytes *prometheus.CounterVec
	sent, sentBytes         *prometheus.CounterVec
	publishFailures         *prometheus.CounterVec
	pings                   *prometheus.HistogramVec
	pingFailures            prometheus.Counter
	pingsFailing            *prometheus.GaugeVec
	joined, left, failed    prometheus.Counter
	updated                 prometheus.Counter
	conflicts               prometheus.Counter
	reconnects, reconnectsF prometheus.Counter

	dropped        *prometheus.CounterVec
	stateErrors    *prometheus.CounterVec
	rejected       *prometheus.CounterVec
	duplicates     prometheus.Counter
	echoSuppressed prometheus.Counter
	gaps           prometheus.Counter
	askedAgain     prometheus.Counter
	sentAgain      prometheus.Counter
	lost           prometheus.Counter
	undelivered    prometheus.Counter
	disputes       prometheus.Counter
	raised         prometheus.Counter
	standstills    prometheus.Counter
	limited        *prometheus.CounterVec
	resyncs        *prometheus.CounterVec
	propagation    prometheus.Histogram

	update, fullState traffic // of the per-message path, without a look-up

	probes     probes
	registerer prometheus.Registerer
	collectors []prometheus.Collector
}

type traffic struct{ received, receivedBytes, sent, sentBytes prometheus.Counter }

func newMetrics(n *node) *metrics {
	m := &metrics{probes: probes{named: map[string]int{}}}
	labels := prometheus.Labels{"cluster_name": n.cfg.Cluster}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
		m.collectors = append(m.collectors, c)
		return c
	}
	counters := func(name, help string, by ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, by)
		m.collectors = append(m.collectors, c)
		return c
	}
	gauge := func(name, help string, f func() float64) {
		m.collectors = append(m.collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, f))
	}

	m.received = counters("alertmanager_cluster_messages_received_total", "Cluster messages received.", "msg_type")
	m.receivedBytes = counters("alertmanager_cluster_messages_received_size_total", "Bytes of the cluster messages received.", "msg_type")
	m.sent = counters("alertmanager_cluster_messages_sent_total", "Cluster messages sent.", "msg_type")
	m.sentBytes = counters("alertmanager_cluster_messages_sent_size_total", "Bytes of the cluster messages sent.", "msg_type")
	m.publishFailures = counters("alertmanager_cluster_messages_publish_failures_total", "Messages that could not be sent; state exchange repairs them.", "msg_type", "reason")
	gauge("alertmanager_cluster_members", "Members of the cluster as this node sees it, itself included.", func() float64 { return float64(len(n.engine.view.Load().Members)) })
	gauge("alertmanager_peer_position", "Position of this node among the members. The position decides who acts first.", func() float64 { return float64(n.engine.view.Load().Position) })
	m.pings = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "alertmanager_cluster_pings_seconds", Help: "Round trips to a peer, or on a bus through the server and back.",
		ConstLabels: labels, Buckets: []float64{.005, .01, .025, .05, .1, .25, .5},
	}, []string{"peer"})
	m.collectors = append(m.collectors, m.pings)
	m.pingFailures = counter("alertmanager_cluster_pings_failures_total", "Round trips that failed.")
	gauge("alertmanager_cluster_health_score", "0 means healthy; 1 each for: detached, name conflict or other trouble, first exchange not done.", n.healthScore)
	m.pingsFailing = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "clusterchannel_pings_failing", Help: "1 while round trips to a member fail, three or more in a row.", ConstLabels: labels,
	}, []string{"peer"})
	m.collectors = append(m.collectors, m.pingsFailing)
	gauge("alertmanager_cluster_messages_queued", "Updates that wait to be sent.", func() float64 { return float64(n.out.queued()) })
	m.joined = counter("alertmanager_cluster_peers_joined_total", "Members that joined, this node included.")
	m.left = counter("alertmanager_cluster_peers_left_total", "Members that left by their own will.")
	m.updated = counter("alertmanager_cluster_peers_update_total", "Members that changed their address or meta data.")
	m.failed = counter("clusterchannel_members_failed_total", "Members that vanished without a goodbye.")
	m.conflicts = counter("alertmanager_cluster_peer_name_conflicts_total", "Times another member turned up with this node's name.")
	m.reconnects = counter("alertmanager_cluster_reconnections_total", "Times this node was attached again.")
	m.reconnectsF = counter("alertmanager_cluster_reconnections_failed_total", "Attempts to attach that failed, as far as the transport tells of each.")
	m.collectors = append(m.collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "alertmanager_cluster_peer_info", Help: "Always 1; the label is this node's name.",
		ConstLabels: prometheus.Labels{"cluster_name": n.cfg.Cluster, "peer": n.self.Name},
	}, func() float64 { return 1 }))

	m.dropped = counters("clusterchannel_dropped_total", "Updates dropped by this node, to send or received; state exchange repairs them.", "key", "reason")
	m.stateErrors = counters("clusterchannel_state_errors_total", "Calls of a state that failed or panicked.", "key", "op")
	m.rejected = counters("clusterchannel_frames_rejected_total", "Inbound frames that were rejected.", "reason")
	m.duplicates = counter("clusterchannel_duplicates_total", "Updates that arrived again and were not merged again.")
	m.echoSuppressed = counter("clusterchannel_rebroadcasts_suppressed_total", "Broadcasts of a payload that was just merged and so has reached all.")
	m.gaps = counter("clusterchannel_gaps_total", "Times that updates of a member were found missing, by a gap in its numbers.")
	m.askedAgain = counter("clusterchannel_updates_asked_again_total", "Missing updates that this node asked their origin for.")
	m.sentAgain = counter("clusterchannel_updates_sent_again_total", "Updates that this node sent once more, to who missed them.")
	m.lost = counter("clusterchannel_updates_lost_total", "Missing updates that nobody who was asked has; the periodic comparison goes on.")
	m.undelivered = counter("clusterchannel_undelivered_total", "Frames that the transport took for a member and could not bring there; state exchange repairs them.")
	m.disputes = counter("clusterchannel_view_disputes_total", "Times that a member's view was found to disagree with this node's.")
	m.raised = counter("clusterchannel_incarnations_total", "Times that something false was said in this node's name, so that its numbers began anew.")
	m.standstills = counter("clusterchannel_standstills_total", "Times that this process stood still for so long that the others may have dropped it.")
	m.limited = counters("clusterchannel_limited_total", "Times that a budget of the protocol stopped something.", "budget")
	m.resyncs = counters("clusterchannel_resyncs_total", "State exchanges that this node asked for.", "reason")
	m.propagation = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "clusterchannel_propagation_seconds", Help: "From Broadcast on one node to the end of Merge on this one, by the two nodes' clocks.",
		ConstLabels: labels, Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15},
	})
	m.collectors = append(m.collectors, m.propagation)
	gauge("clusterchannel_attached", "1 while the node hears the cluster and is heard.", func() float64 {
		if n.engine.view.Load().Status == core.Attached {
			return 1
		}
		return 0
	})
	gauge("clusterchannel_ready", "0 settling, 1 synced, 2 alone, 3 timed out.", func() float64 { return float64(n.engine.view.Load().Ready) })
	gauge("clusterchannel_view_disagreements", "Disagreements with other members' views at the moment; View().Disputed names them.", func() float64 { return float64(len(n.engine.view.Load().Disputed)) })
	gauge("clusterchannel_states_unready", "States that were not ready when the settle limit passed, and still are not; View().Unready names them.", func() float64 { return float64(len(n.engine.view.Load().Unready)) })
	gauge("clusterchannel_nodes_of_other_version", "Nodes of this cluster that were heard within the last minute and speak another version of the protocol.", func() float64 { return float64(len(n.strangers.list())) })
	gauge("clusterchannel_clocks_apart", "Members whose clock is apart from this node's by more than a second, as far as their updates show.", func() float64 { return float64(len(n.clocks.troubles())) })
	gauge("clusterchannel_view_epoch", "Changes of this node's view so far.", func() float64 { return float64(n.engine.view.Load().Epoch) })

	m.update, m.fullState = m.traffic("update"), m.traffic("full_state")
	for _, reason := range []string{"buffer_overflow", "transport_error"} {
		m.publishFailures.WithLabelValues("update", reason)
		m.publishFailures.WithLabelValues("full_state", reason)
	}
	for _, reason := range rejectReasons {
		m.rejected.WithLabelValues(reason)
	}
	for _, reason := range core.NoteReasons {
		m.resyncs.WithLabelValues(reason)
	}
	for _, budget := range budgets {
		m.limited.WithLabelValues(budget)
	}
	m.joined.Inc()
	return m
}

func (m *metrics) traffic(msgType string) traffic {
	return traffic{
		m.received.WithLabelValues(msgType), m.receivedBytes.WithLabelValues(msgType),
		m.sent.WithLabelValues(msgType), m.sentBytes.WithLabelValues(msgType),
	}
}

// register registers all series, or none.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.collectors {
		if err := r.Register(c); err != nil {
			for _, c := range m.collectors[:i] {
				r.Unregister(c)
			}
			return fmt.Errorf("%w: registerer: %w; a second channel of the same cluster needs a registerer wrapped by prometheus.WrapRegistererWith", ErrConfig, err)
		}
	}
	m.registerer = r
	return nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}

func (m *metrics) drop(key, reason string) { m.dropped.WithLabelValues(key, reason).Inc() }

func (m *metrics) stateFailed(key, op string) { m.stateErrors.WithLabelValues(key, op).Inc() }

func (m *metrics) publishFailed(msgType, reason string) {
	m.publishFailures.WithLabelValues(msgType, reason).Inc()
}

// propagated notes how long an update took, where its origin said when it left.
func (m *metrics) propagated(sent int64, now time.Time) {
	if sent == 0 {
		return
	}
	m.propagation.Observe(max(time.Duration(now.UnixNano()-sent).Seconds(), 0))
}

// probes are the members that have series of round trips.
type probes struct {
	mu    sync.Mutex
	named map[string]int // and how many failed in a row
}

// failuresInRow are no chance.
const failuresInRow = 3

// member makes the series of a member's round trips.
func (m *metrics) member(name string) {
	m.probes.mu.Lock()
	defer m.probes.mu.Unlock()
	m.probes.named[name] = 0
	m.pings.WithLabelValues(label(name))
	m.pingsFailing.WithLabelValues(label(name)).Set(0)
}

// probed notes a round trip to a member, or that it failed.
func (m *metrics) probed(name string, rtt time.Duration, err error) {
	if err != nil {
		m.pingFailures.Inc()
	}
	m.probes.mu.Lock() // forgetMembers deletes the series of who is gone under it
	defer m.probes.mu.Unlock()
	failed, known := m.probes.named[name]
	switch {
	case !known:
	case err == nil:
		m.pings.WithLabelValues(label(name)).Observe(rtt.Seconds())
		if failed > 0 {
			m.probes.named[name] = 0
			m.pingsFailing.WithLabelValues(label(name)).Set(0)
		}
	default:
		if m.probes.named[name]++; failed+1 == failuresInRow {
			m.pingsFailing.WithLabelValues(label(name)).Set(1)
		}
	}
}

// forgetMembers deletes the series of who is no member any more, and lets those who
// are have some.
func (m *metrics) forgetMembers(members []core.Member) {
	m.probes.mu.Lock()
	defer m.probes.mu.Unlock()
	now := make(map[string]int, len(members))
	for _, member := range members {
		now[member.Name] = m.probes.named[member.Name]
	}
	for name := range m.probes.named {
		if _, there := now[name]; !there {
			m.pings.DeleteLabelValues(label(name))
			m.pingsFailing.DeleteLabelValues(label(name))
		}
	}
	m.probes.named = now
}

func (m *metrics) forgetKey(key string) {
	m.dropped.DeletePartialMatch(prometheus.Labels{"key": key})
	m.stateErrors.DeletePartialMatch(prometheus.Labels{"key": key})
}

func (t traffic) in(messages, bytes int) {
	t.received.Add(float64(messages))
	t.receivedBytes.Add(float64(bytes))
}

func (t traffic) out(n int) { t.sent.Inc(); t.sentBytes.Add(float64(n)) }

// label makes a label's value of a name that may come from a stranger.
func label(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }
