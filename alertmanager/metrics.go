package alertmanager

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are those of Alertmanager's own that its packages leave to the
// application.
type metrics struct {
	requestDuration                        *prometheus.HistogramVec
	receivers, integrations, inhibitRules  prometheus.Gauge
	reloadSuccess, reloadSuccessTimeSecond prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, clustered bool) *metrics {
	f := promauto.With(r)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		requestDuration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "alertmanager_http_request_duration_seconds", Help: "Histogram of latencies for HTTP requests.",
			Buckets: prometheus.DefBuckets,
		}, []string{"handler", "method", "code"}),
		receivers:               gauge("alertmanager_receivers", "Number of configured receivers."),
		integrations:            gauge("alertmanager_integrations", "Number of configured integrations."),
		inhibitRules:            gauge("alertmanager_inhibition_rules", "Number of configured inhibition rules."),
		reloadSuccess:           gauge("alertmanager_config_last_reload_successful", "Whether the last configuration reload attempt was successful."),
		reloadSuccessTimeSecond: gauge("alertmanager_config_last_reload_success_timestamp_seconds", "Timestamp of the last successful configuration reload."),
	}
	enabled := gauge("alertmanager_cluster_enabled", "Indicates whether the clustering is enabled or not.")
	if clustered {
		enabled.Set(1)
	}
	m.reloaded(nil)
	return m
}

func (m *metrics) configured(receivers, integrations, inhibitRules int) {
	m.receivers.Set(float64(receivers))
	m.integrations.Set(float64(integrations))
	m.inhibitRules.Set(float64(inhibitRules))
}

func (m *metrics) reloaded(err error) {
	if err != nil {
		m.reloadSuccess.Set(0)
		return
	}
	m.reloadSuccess.Set(1)
	m.reloadSuccessTimeSecond.Set(float64(time.Now().Unix()))
}
