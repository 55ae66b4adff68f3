package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/api"
	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/eventrecorder/eventrecorderpb"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/tracing"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"

	"github.com/clusterchannel/clusterchannel/backend"
)

// App is one running instance. Its methods may be called from many goroutines.
type App struct {
	opts     Options
	registry *prometheus.Registry
	api      *api.API
	config   *config.Coordinator
	reload   *reloader
	handler  *http.ServeMux
	channels []backend.Channel
	events   eventrecorder.Recorder
	tracing  *tracing.Manager

	open    context.Context // until it is closed
	shut    context.CancelFunc
	tasks   sync.WaitGroup
	alerts  *mem.Alerts
	closing sync.Once
}

// New starts an instance. Its error names what is wrong with the configuration;
// nothing is then left running. registry receives the instance's metrics, which
// the handler serves at /metrics; nil means a new one. No two instances may share
// a registry: Alertmanager's packages panic at the second one.
func New(opts Options, registry *prometheus.Registry) (_ *App, err error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	conf, err := loadConfig(opts.ConfigFile)
	if err != nil {
		return nil, err
	}
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	a := &App{opts: opts, registry: registry}
	a.open, a.shut = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if err := a.observe(conf); err != nil {
		return nil, err
	}
	log, silences, err := a.openStates()
	if err != nil {
		return nil, err
	}
	if err := a.replicate(log, silences); err != nil {
		return nil, err
	}
	if err := a.wire(conf, log, silences); err != nil {
		return nil, err
	}
	a.handler = a.routes()
	return a, nil
}

// observe starts Alertmanager's own tracing and event log, as the configuration
// says.
func (a *App) observe(conf *config.Config) error {
	a.tracing = tracing.NewManager(a.opts.Logger.With("component", "tracing"))
	a.tasks.Go(a.tracing.Run)
	if !a.opts.flags.EnableEventRecorder() {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the host has no name: %w", err)
	}
	a.events = eventrecorder.NewRecorderFromConfig(conf.EventRecorder, host, a.opts.Logger.With("component", "eventrecorder"), a.registry)
	a.record(&eventrecorderpb.EventData{EventType: &eventrecorderpb.EventData_AlertmanagerStartupEvent{
		AlertmanagerStartupEvent: &eventrecorderpb.AlertmanagerStartupEvent{Version: version.Version, BuildContext: version.BuildContext()},
	}})
	return nil
}

// record adds an event to the log of events.
func (a *App) record(e *eventrecorderpb.EventData) {
	a.events.RecordEvent(eventrecorder.WithEventRecording(context.Background()), func() *eventrecorderpb.EventData { return e })
}

// openStates makes the notification log and the silences, from their snapshots
// if there are any, and maintains them until the App is closed.
func (a *App) openStates() (*nflog.Log, *silence.Silences, error) {
	logFile, silenceFile := a.snapshot("nflog"), a.snapshot("silences")
	if a.opts.StoragePath != "" {
		if err := os.MkdirAll(a.opts.StoragePath, 0o777); err != nil {
			return nil, nil, fmt.Errorf("storage path: %w", err)
		}
	}
	log, err := nflog.New(nflog.Options{
		SnapshotFile: logFile, Retention: a.opts.Retention,
		Logger: a.opts.Logger.With("component", "nflog"), Metrics: a.registry,
	})
	if err != nil {
		return nil, nil, badSnapshot("notification log", logFile, err)
	}
	silences, err := silence.New(silence.Options{
		SnapshotFile: silenceFile, Retention: a.opts.Retention,
		Limits: silence.Limits{
			MaxSilences:         func() int { return a.opts.MaxSilences },
			MaxSilenceSizeBytes: func() int { return a.opts.MaxSilenceSize },
		},
		Logging: a.opts.LogSilences, EventRecorder: a.events,
		Logger: a.opts.Logger.With("component", "silences"), Metrics: a.registry,
	})
	if err != nil {
		return nil, nil, badSnapshot("silences", silenceFile, err)
	}
	a.tasks.Go(func() { log.Maintenance(a.opts.MaintenanceInterval, logFile, a.open.Done(), nil) })
	a.tasks.Go(func() { silences.Maintenance(a.opts.MaintenanceInterval, silenceFile, a.open.Done(), nil) })
	return log, silences, nil
}

// badSnapshot is the error of a snapshot that cannot be loaded. The file stays
// as it is.
func badSnapshot(what, file string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) || file == "" {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%w: %s: %s is no snapshot of Alertmanager, or is damaged: %w; it is left as it is: move it away to start without it, or put a backup there", backend.ErrConfig, what, file, err)
}

func (a *App) snapshot(name string) string {
	if a.opts.StoragePath == "" {
		return ""
	}
	return filepath.Join(a.opts.StoragePath, name)
}

// replicate shares both states under the keys that Alertmanager uses, once they
// hold what Options.Keep has loaded.
func (a *App) replicate(log *nflog.Log, silences *silence.Silences) error {
	if a.opts.Keep == nil && a.opts.Cluster == nil {
		return nil
	}
	for _, s := range []struct {
		key  string
		open func() (*Records, error)
	}{
		{"nfl", func() (*Records, error) { return NewLogRecords(log) }},
		{"sil", func() (*Records, error) { return NewSilenceRecords(silences) }},
	} {
		records, err := s.open()
		if err != nil {
			return fmt.Errorf("replicate %q: %w", s.key, err)
		}
		var state backend.State = records
		if a.opts.Keep != nil {
			if state, err = a.opts.Keep(s.key, state); err != nil {
				return fmt.Errorf("keep %q: %w", s.key, err)
			}
		}
		if a.opts.Cluster == nil {
			continue
		}
		channel, err := a.opts.Cluster.AddState(s.key, state, nil)
		if err != nil {
			return fmt.Errorf("replicate %q: %w", s.key, err)
		}
		a.channels = append(a.channels, channel)
		records.SetBroadcast(channel.Broadcast)
	}
	return nil
}

// wire connects alerts, API, pipeline and dispatcher.
func (a *App) wire(conf *config.Config, log *nflog.Log, silences *silence.Silences) error {
	logger := a.opts.Logger
	metrics := newMetrics(a.registry, a.opts.Cluster != nil)
	silencer := silence.NewSilencer(silences, logger, a.events)
	groups := marker.NewGroupMarker()
	var err error
	a.alerts, err = mem.NewAlerts(context.Background(), a.opts.AlertGCInterval, a.opts.AlertNameLimit, silencer, logger, a.events, a.registry, a.opts.flags)
	if err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	if file := a.snapshot("alerts"); file != "" {
		memory := newMemory(file, a.alerts, logger)
		if err := memory.recall(time.Duration(conf.Global.ResolveTimeout)); err != nil {
			return err
		}
		a.tasks.Go(func() { memory.run(a.open.Done()) })
	}
	a.reload = &reloader{
		alerts: a.alerts, silencer: silencer, groups: groups, log: log, opts: &a.opts, metrics: metrics,
		events: a.events, tracing: a.tracing,
		dispatcherMetrics: dispatch.NewDispatcherMetrics(false, a.registry, a.opts.flags),
		pipelines:         notify.NewPipelineBuilder(a.registry, a.opts.flags, a.events),
		comebacks:         newComebacks(),
		started:           time.Now(),
	}
	var peer cluster.ClusterPeer
	if a.opts.Cluster != nil {
		a.tasks.Go(func() { metrics.lost.watch(a.open, a.opts.Cluster) })
		a.tasks.Go(func() { a.reload.comebacks.watch(a.open, a.opts.Cluster) })
		peer = clusterPeer{a.opts.Cluster, a.opts.Name}
	}
	a.api, err = api.New(api.Options{
		Alerts: a.alerts, Silences: silences, GroupMutedFunc: groups.Muted, Peer: peer,
		Timeout: a.opts.RequestTimeout, Concurrency: a.opts.GetConcurrency, CORSHandler: a.opts.cors,
		Logger: logger.With("component", "api"), Registry: a.registry, RequestDuration: metrics.requestDuration,
		GroupFunc: func(ctx context.Context, routes func(*dispatch.Route) bool, alerts func(*alert.Alert, time.Time) bool) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
			return a.reload.dispatcher.Load().Groups(ctx, routes, alerts)
		},
	})
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	a.reload.api = a.api
	a.config = config.NewCoordinator(a.opts.ConfigFile, a.registry, logger.With("component", "configuration"))
	a.config.Subscribe(a.reload.apply)
	return a.config.ApplyConfig(conf)
}

// Reload reads the configuration file again, and calls Options.OnReload. After
// an error the instance keeps the former configuration.
func (a *App) Reload() error {
	err := a.config.Reload()
	if err != nil {
		err = configError(a.opts.ConfigFile, err)
		a.opts.Logger.Error("the configuration was not reloaded; the former one stays", "err", err)
	}
	if a.opts.OnReload != nil {
		err = errors.Join(err, a.opts.OnReload())
	}
	return err
}

// Handler returns the HTTP interface: a page at /, API v2, /metrics, /-/ready,
// /-/healthy and /-/reload. The page links to /status, for a page about the
// cluster: see Handle.
func (a *App) Handler() http.Handler { return tracing.Middleware(a.handler) }

// Handle adds h to Handler, at path below the route prefix. The path must be
// free.
func (a *App) Handle(path string, h http.Handler) {
	a.handler.Handle(strings.TrimRight(a.opts.RoutePrefix, "/")+path, h)
}

// Close stops sending, stores the states if there is a storage path, and
// removes them from the node. It returns when nothing runs any more.
func (a *App) Close() {
	a.closing.Do(func() {
		if a.reload != nil {
			a.reload.stop()
		}
		a.shut()
		if a.tracing != nil {
			a.tracing.Stop()
		}
		a.tasks.Wait()
		if a.alerts != nil {
			a.alerts.Close()
		}
		for _, c := range a.channels {
			c.Remove()
		}
		a.record(&eventrecorderpb.EventData{EventType: &eventrecorderpb.EventData_AlertmanagerShutdownEvent{
			AlertmanagerShutdownEvent: &eventrecorderpb.AlertmanagerShutdownEvent{},
		}})
		if err := a.events.Close(); err != nil {
			a.opts.Logger.Warn("the last events are not recorded", "err", err)
		}
	})
}

// Check reports whether New can use opts, as far as that is known before
// anything starts. Its error names the option, or file and line.
func Check(opts Options) error {
	if err := opts.complete(); err != nil {
		return err
	}
	_, err := loadConfig(opts.ConfigFile)
	return err
}

func loadConfig(file string) (*config.Config, error) {
	conf, err := config.LoadFile(file)
	if err != nil {
		return nil, configError(file, err)
	}
	return conf, nil
}

// configError is the error of a configuration file, whichever package found it.
func configError(file string, err error) error {
	switch path := (*os.PathError)(nil); {
	case errors.Is(err, backend.ErrConfig):
		return err
	case errors.As(err, &path):
		return fmt.Errorf("%w: config file: %w", backend.ErrConfig, err)
	}
	return unusable(file, err)
}

// unusable is the error of a configuration file that was read.
func unusable(file string, err error) error {
	return fmt.Errorf("%w: config file %s: %w", backend.ErrConfig, file, err)
}
