package alertmanager

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/alertmanager/api"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/alertmanager/tracing"
	"github.com/prometheus/common/model"

	"github.com/clusterchannel/clusterchannel/backend"
)

// reloader owns what depends on the configuration file: receivers, routes,
// inhibition and the dispatcher.
type reloader struct {
	opts              *Options
	api               *api.API
	alerts            *mem.Alerts
	silencer          *silence.Silencer
	groups            marker.GroupMarker
	log               *nflog.Log
	metrics           *metrics
	events            eventrecorder.Recorder
	tracing           *tracing.Manager
	dispatcherMetrics *dispatch.DispatcherMetrics
	pipelines         *notify.PipelineBuilder
	comebacks         *comebacks
	started           time.Time

	mu         sync.Mutex // of apply and stop
	stopped    bool
	pipeline   *pipeline // of the dispatcher
	runs       sync.WaitGroup
	dispatcher atomic.Pointer[dispatch.Dispatcher]
	inhibitor  atomic.Pointer[inhibit.Inhibitor]
	resolve    atomic.Int64 // resolve_timeout
}

// apply puts conf into force. What can fail comes first, so that after an error
// everything is as before.
func (r *reloader) apply(conf *config.Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return nil
	}
	tmpl, err := template.FromGlobs(conf.Templates)
	if err != nil {
		return unusable(r.opts.ConfigFile, fmt.Errorf("templates: %w", err))
	}
	tmpl.ExternalURL = r.opts.ExternalURL
	routes := dispatch.NewRoute(conf.Route, nil)
	receivers, err := r.receivers(conf, routes, tmpl)
	if err != nil {
		return unusable(r.opts.ConfigFile, err)
	}

	if err := r.tracing.ApplyConfig(conf.TracingConfig); err != nil {
		return unusable(r.opts.ConfigFile, fmt.Errorf("tracing: %w", err))
	}
	r.events.ApplyConfig(conf.EventRecorder)
	r.metrics.configured(receivers, conf)
	r.warn(routes)

	r.halt()
	r.resolve.Store(int64(conf.Global.ResolveTimeout))
	inhibitor := inhibit.NewInhibitor(r.alerts, conf.InhibitRules, r.opts.Logger, r.events)
	pipeline, log := newPipeline(nil), newLedger(r.log)
	routing := r.pipelines.New(pipeline.within(receivers, log, r.opts.Logger), func() time.Duration { return 0 },
		inhibitor, r.silencer, timeinterval.NewIntervener(intervals(conf)), r.groups, log, r.peer())
	if r.opts.Cluster != nil {
		routing = turns{r.opts.Cluster, r.opts.PeerTimeout, r.comebacks, r.started}.before(routing)
	}
	pipeline.stage = routing
	r.api.Update(conf, func(ctx context.Context, labels model.LabelSet) {
		if i := r.inhibitor.Load(); i != nil {
			i.Mutes(ctx, labels)
		}
		r.silencer.Mutes(ctx, labels)
	})
	dispatcher := dispatch.NewDispatcher(r.alerts, routes, pipeline, r.groups, r.timeout, r.opts.DispatchMaintenanceInterval, nil,
		r.opts.Logger, r.events, r.dispatcherMetrics, tmpl)
	r.pipeline = pipeline

	// Inhibition must know its alerts before the first one is dispatched.
	r.runs.Go(inhibitor.Run)
	inhibitor.WaitForLoading()
	r.inhibitor.Store(inhibitor)
	r.runs.Go(func() { dispatcher.Run(r.started.Add(r.opts.DispatchStartDelay)) })
	dispatcher.WaitForLoading()
	r.dispatcher.Store(dispatcher)
	return nil
}

// warn logs what may surprise people about routes, in Alertmanager's words.
func (r *reloader) warn(routes *dispatch.Route) {
	logger := r.opts.Logger.With("component", "configuration")
	routes.Walk(func(route *dispatch.Route) {
		o := route.RouteOpts
		if o.RepeatInterval > r.opts.Retention {
			logger.Warn("repeat_interval is greater than the data retention period. It can lead to notifications being repeated more often than expected.",
				"repeat_interval", o.RepeatInterval, "retention", r.opts.Retention, "route", route.Key())
		}
		if o.RepeatInterval < o.GroupInterval {
			logger.Warn("repeat_interval is less than group_interval. Notifications will not repeat until the next group_interval.",
				"repeat_interval", o.RepeatInterval, "group_interval", o.GroupInterval, "route", route.Key())
		}
	})
}

// receivers builds the integrations of all receivers that a route uses.
func (r *reloader) receivers(conf *config.Config, routes *dispatch.Route, tmpl *template.Template) (map[string][]notify.Integration, error) {
	used := map[string]bool{}
	routes.Walk(func(route *dispatch.Route) { used[route.RouteOpts.Receiver] = true })
	all := make(map[string][]notify.Integration, len(used))
	for _, c := range conf.Receivers {
		if !used[c.Name] {
			r.opts.Logger.Info("skipping creation of receiver not referenced by any route", "component", "configuration", "receiver", c.Name)
			continue
		}
		built, err := receiver.BuildReceiverIntegrations(c, tmpl, r.opts.Logger)
		if err != nil {
			return nil, fmt.Errorf("receiver %q: %w", c.Name, err)
		}
		all[c.Name] = built
	}
	return all, nil
}

func intervals(conf *config.Config) map[string][]timeinterval.TimeInterval {
	all := make(map[string][]timeinterval.TimeInterval, len(conf.MuteTimeIntervals)+len(conf.TimeIntervals))
	for _, i := range conf.MuteTimeIntervals {
		all[i.Name] = i.TimeIntervals
	}
	for _, i := range conf.TimeIntervals {
		all[i.Name] = i.TimeIntervals
	}
	return all
}

// wait is how long this instance waits for those before it to send.
func (r *reloader) wait() time.Duration {
	if r.opts.Cluster == nil {
		return 0
	}
	return time.Duration(r.opts.Cluster.Position()) * r.opts.PeerTimeout
}

// resolveTimeout is how long an alert without an end fires.
func (r *reloader) resolveTimeout() time.Duration { return time.Duration(r.resolve.Load()) }

// timeout bounds a flush: d, plus its turn, plus the turn of an instance that
// joins in front of it meanwhile, plus what an instance waits that lost the others.
func (r *reloader) timeout(d time.Duration) time.Duration {
	wait := r.wait()
	if away := r.away(); wait > 0 || away > 0 {
		wait += r.opts.PeerTimeout + away
	}
	return max(d, notify.MinTimeout) + wait
}

// away is how long this instance waits for the others before it acts by itself,
// which it does not where it is among them.
func (r *reloader) away() time.Duration {
	if r.opts.Cluster == nil {
		return 0
	}
	v := r.opts.Cluster.View()
	if i, ok := r.opts.Cluster.(backend.Inspector); ok && v.Status == backend.Detached && !v.Isolated {
		return i.Inspect().Grace
	}
	return 0
}

// peer is what the pipeline waits for before it sends. A nil cluster must be a
// nil interface.
func (r *reloader) peer() notify.Peer {
	if r.opts.Cluster == nil {
		return nil
	}
	return r.opts.Cluster
}

// halt stops the running dispatcher and inhibitor, once what is being sent has
// been sent.
func (r *reloader) halt() {
	if r.pipeline != nil {
		r.pipeline.halt()
	}
	if i := r.inhibitor.Load(); i != nil {
		i.Stop()
	}
	if d := r.dispatcher.Load(); d != nil {
		d.Stop()
	}
}

func (r *reloader) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.stopped = true
		r.halt()
		r.runs.Wait()
	}
}
