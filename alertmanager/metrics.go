package alertmanager

import (
	"net/http"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
)

// metrics are those of Alertmanager's metrics that its packages leave to the
// application.
type metrics struct {
	requestDuration, responseSize         *prometheus.HistogramVec
	receivers, integrations, inhibitRules prometheus.Gauge
	lost                                  *lost // nil without a cluster
}

func newMetrics(r prometheus.Registerer, clustered bool) *metrics {
	f := promauto.With(r)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		requestDuration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "alertmanager_http_request_duration_seconds", Help: "Histogram of latencies for HTTP requests.",
			Buckets:                     prometheus.DefBuckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"handler", "method", "code"}),
		responseSize: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "alertmanager_http_response_size_bytes", Help: "Histogram of response size for HTTP requests.",
			Buckets: prometheus.ExponentialBuckets(100, 10, 7),
		}, []string{"handler", "method"}),
		receivers:    gauge("alertmanager_receivers", "Number of configured receivers."),
		integrations: gauge("alertmanager_integrations", "Number of configured integrations."),
		inhibitRules: gauge("alertmanager_inhibition_rules", "Number of configured inhibition rules."),
	}
	enabled := gauge("alertmanager_cluster_enabled", "Indicates whether the clustering is enabled or not.")
	if clustered {
		enabled.Set(1)
		m.lost = &lost{since: map[string]time.Time{}}
		f.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "alertmanager_cluster_failed_peers", Help: "Number indicating the current number of failed peers in the cluster.",
		}, m.lost.count)
	}
	r.MustRegister(versioncollector.NewCollector("alertmanager"))
	return m
}

// configured is told of what is in force.
func (m *metrics) configured(receivers map[string][]notify.Integration, conf *config.Config) {
	integrations := 0
	for _, built := range receivers {
		integrations += len(built)
	}
	m.receivers.Set(float64(len(receivers)))
	m.integrations.Set(float64(integrations))
	m.inhibitRules.Set(float64(len(conf.InhibitRules)))
}

// instrument measures the requests to a handler.
func (m *metrics) instrument(name string, h http.HandlerFunc) http.HandlerFunc {
	handler := prometheus.Labels{"handler": name}
	return promhttp.InstrumentHandlerDuration(m.requestDuration.MustCurryWith(handler),
		promhttp.InstrumentHandlerResponseSize(m.responseSize.MustCurryWith(handler), h))
}

// Version is the Alertmanager version of the packages used.
const Version = "0.34.2"

// init sets it as the version in the API and the metrics, unless the program
// was linked with its own.
func init() {
	if version.Version == "" {
		version.Version = Version
	}
}
