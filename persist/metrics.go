package persist

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
)

// metrics count loads and saves.
type metrics struct {
	failures *prometheus.CounterVec
	rejected *prometheus.CounterVec
	last     *prometheus.GaugeVec
	size     *prometheus.GaugeVec

	registerer prometheus.Registerer

	mu     sync.Mutex
	failed map[string]bool // keys whose last attempt failed
}

func newMetrics(r prometheus.Registerer, cluster string) (*metrics, error) {
	labels := prometheus.Labels{"cluster_name": cluster}
	m := &metrics{
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clusterchannel_persist_failures_total", Help: "Failed attempts to load and save a state.", ConstLabels: labels,
		}, []string{"key"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clusterchannel_persist_rejected_total", Help: "Stored states that could not be used and were kept aside.", ConstLabels: labels,
		}, []string{"key"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "clusterchannel_persist_last_success_timestamp_seconds", Help: "When the database last had all of a state, or 0 if it had not since the start; its age is time() less this.", ConstLabels: labels,
		}, []string{"key"}),
		size: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "clusterchannel_persist_size_bytes", Help: "Size of a state when this node last loaded or saved it.", ConstLabels: labels,
		}, []string{"key"}),
		registerer: r,
		failed:     map[string]bool{},
	}
	if r == nil {
		return m, nil
	}
	for i, c := range m.collectors() {
		if err := r.Register(c); err != nil {
			for _, done := range m.collectors()[:i] {
				r.Unregister(done)
			}
			return nil, fmt.Errorf("persist: %w: metrics of cluster %q: %w", backend.ErrConfig, cluster, err)
		}
	}
	return m, nil
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.failures, m.rejected, m.last, m.size}
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors() {
		m.registerer.Unregister(c)
	}
}

// outcome counts an attempt, and reports whether the one before it failed.
func (m *metrics) outcome(key string, err error) bool {
	failures, last := m.failures.WithLabelValues(key), m.last.WithLabelValues(key)
	m.rejected.WithLabelValues(key) // all three series exist from the first attempt
	if err != nil {
		failures.Inc()
	} else {
		last.SetToCurrentTime()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.failed[key]
	m.failed[key] = err != nil
	return before
}

func (m *metrics) stored(key string, size int) { m.size.WithLabelValues(key).Set(float64(size)) }

func (m *metrics) failing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, failed := range m.failed {
		if failed {
			return true
		}
	}
	return false
}
