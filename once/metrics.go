package once

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
)

// The outcomes of a call of Do.
const (
	here      = "here"
	elsewhere = "elsewhere"
	failed    = "failed"
	ended     = "ended"
)

// metrics are those of one Group.
type metrics struct {
	calls           *prometheus.CounterVec
	acting          prometheus.Gauge
	doubled, untold prometheus.Counter
	window          prometheus.Histogram

	registerer prometheus.Registerer
	collectors []prometheus.Collector
}

func newMetrics(r prometheus.Registerer, cluster, key string) (*metrics, error) {
	labels := prometheus.Labels{"cluster_name": cluster, "key": key}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	}
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clusterchannel_once_calls_total", Help: "Calls of Do, by how they ended.", ConstLabels: labels,
		}, []string{"outcome"}),
		acting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "clusterchannel_once_acting", Help: "Work that this node does at the moment.", ConstLabels: labels,
		}),
		doubled: counter("clusterchannel_once_doubled_total", "Work of this node that another one was found to have done too."),
		untold:  counter("clusterchannel_once_untold_total", "Work that was done and could not be told to the others."),
		window: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "clusterchannel_once_window_seconds", Help: "From the end of another node's work until this node knew of it, by the clocks of both.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10), ConstLabels: labels,
		}),
		registerer: r,
	}
	for _, outcome := range []string{here, elsewhere, failed, ended} {
		m.calls.WithLabelValues(outcome)
	}
	m.collectors = []prometheus.Collector{m.calls, m.acting, m.doubled, m.untold, m.window}
	if r == nil {
		return m, nil
	}
	for i, c := range m.collectors {
		if err := r.Register(c); err != nil {
			for _, done := range m.collectors[:i] {
				r.Unregister(done)
			}
			return nil, fmt.Errorf("once: %w: metrics of key %q: %w", backend.ErrConfig, key, err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}
