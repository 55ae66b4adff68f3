package replicated

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
)

// collector tells the numbers of a replica as they are when it is asked.
type collector struct {
	of                                *replica
	entries, tombstones, bytes, ratio *prometheus.Desc
	ahead, refused                    *prometheus.Desc
}

// register has the metrics of a state of a node be told, until unregister is called.
func (r *replica) register(node backend.ClusterChannel, key string) (unregister func(), err error) {
	to := r.limits.Registerer
	if to == nil {
		return func() {}, nil
	}
	labels := prometheus.Labels{"cluster_name": "", "key": key}
	if i, ok := node.(backend.Inspector); ok {
		labels["cluster_name"] = i.Inspect().Cluster
	}
	metric := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("clusterchannel_replicated_"+name, help, variable, labels)
	}
	c := &collector{
		of:         r,
		entries:    metric("entries", "Keys that have a value."),
		tombstones: metric("tombstones", "Deletions that are remembered, and expired entries that are."),
		bytes:      metric("bytes", "Bytes of encoded keys and values, which MaxBytes bounds."),
		ratio:      metric("full_ratio", "How much of MaxEntries or of MaxBytes is used, the greater: from 1 on nothing more can be written."),
		ahead:      metric("ahead_total", "Entries of a clock that was more than MaxAhead ahead: merged, their time not believed."),
		refused:    metric("refused_total", "Entries that were not merged; one that is offered again counts again.", "reason"),
	}
	if err := to.Register(c); err != nil {
		return nil, fmt.Errorf("replicated: %w: metrics of key %q: %w", backend.ErrConfig, key, err)
	}
	return func() { to.Unregister(c) }, nil
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.entries, c.tombstones, c.bytes, c.ratio, c.ahead, c.refused} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	r := c.of
	r.settle()
	r.mu.Lock()
	t, limits := &r.table, &r.limits
	all, live, size, ahead := len(t.order), t.live, t.size, r.clock.ahead
	refused := make(map[string]uint64, len(reasons))
	for _, reason := range reasons {
		refused[reason] = r.refused[reason]
	}
	r.mu.Unlock()
	tell := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	tell(c.entries, prometheus.GaugeValue, float64(live))
	tell(c.tombstones, prometheus.GaugeValue, float64(all-live))
	tell(c.bytes, prometheus.GaugeValue, float64(size))
	tell(c.ratio, prometheus.GaugeValue, max(float64(all)/float64(limits.MaxEntries), float64(size)/float64(limits.MaxBytes)))
	tell(c.ahead, prometheus.CounterValue, float64(ahead))
	for reason, entries := range refused {
		tell(c.refused, prometheus.CounterValue, float64(entries), reason)
	}
}
