package scheduler

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/rules"
)

// metrics are those of the Scheduler, and of package rules. They have their own
// registry, which is registered as a whole.
type metrics struct {
	registry *prometheus.Registry
	rules    *rules.Metrics

	takeovers, publishFailures, sendFailures prometheus.Counter
	slow                                     *prometheus.CounterVec
	reloaded                                 prometheus.Gauge
}

func newMetrics(groups, evaluated func() float64) *metrics {
	registry := prometheus.NewRegistry()
	f := promauto.With(registry)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "clusterchannel_scheduler_" + name, Help: help})
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "clusterchannel_scheduler_groups", Help: "Rule groups loaded."}, groups)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "clusterchannel_scheduler_groups_evaluated", Help: "Rule groups that this node evaluated last time."}, evaluated)
	m := &metrics{
		registry:        registry,
		rules:           rules.NewGroupMetrics(registry),
		takeovers:       counter("takeovers_total", "Times this node went on with a rule group that another one evaluated."),
		publishFailures: counter("publish_failures_total", "States of rule groups that could not be broadcast."),
		sendFailures:    counter("send_failures_total", "Times the receiver of this node refused alerts."),
		slow: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clusterchannel_scheduler_slow_evaluations_total", Help: "Evaluations of a rule group that outlasted its interval.",
		}, []string{"rule_group"}),
		reloaded: f.NewGauge(prometheus.GaugeOpts{
			Name: "clusterchannel_scheduler_reload_successful", Help: "Whether the last load of the rule files was successful.",
		}),
	}
	m.reloaded.Set(1) // it stays so if there is nothing to load
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	if err := r.Register(m.registry); err != nil {
		return fmt.Errorf("scheduler: metrics: %w", err)
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r != nil {
		r.Unregister(m.registry)
	}
}
