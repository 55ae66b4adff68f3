package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/alecthomas/kong"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/persist"
	"github.com/clusterchannel/clusterchannel/scheduler"
	"github.com/clusterchannel/clusterchannel/status"
)

const shutDownTimeout = 10 * time.Second

// alertmanagerCmd runs one instance. Flags that Alertmanager also has keep
// their names, meanings and defaults.
type alertmanagerCmd struct {
	ConfigFile          string        `name:"config.file" default:"alertmanager.yml" help:"Alertmanager configuration file."`
	StoragePath         string        `name:"storage.path" default:"data/" help:"Directory for the snapshots of silences, notification log, alerts and rules; empty stores nothing."`
	Database            string        `name:"storage.database" env:"CLUSTERCHANNEL_STORAGE_DATABASE" placeholder:"DSN" help:"Database that also keeps silences and notification log: sqlite:/path/file.db, postgres://..., mysql://... The environment hides a password better than a flag."`
	DatabaseInterval    time.Duration `name:"storage.database-interval" default:"30s" help:"How often to save changes to the database."`
	Retention           time.Duration `name:"data.retention" default:"120h" help:"How long to keep expired silences and entries of the notification log."`
	MaintenanceInterval time.Duration `name:"data.maintenance-interval" default:"15m" help:"How often to clean up and store them."`
	MaxSilences         int           `name:"silences.max-silences" default:"0" help:"How many silences there may be, expired ones included; 0 for any number."`
	MaxSilenceSize      int           `name:"silences.max-silence-size-bytes" default:"0" help:"How large a silence may be; 0 for any size."`
	LogSilences         bool          `name:"log.silences" negatable:"" help:"Log each change of a silence."`
	AlertGCInterval     time.Duration `name:"alerts.gc-interval" default:"30m" help:"How often to forget resolved alerts."`
	AlertNameLimit      int           `name:"alerts.per-alertname-limit" default:"0" help:"How many alerts there may be of one name; 0 for any number."`
	DispatchMaintenance time.Duration `name:"dispatch.maintenance-interval" default:"30s" help:"How often to remove groups without alerts."`
	DispatchStartDelay  time.Duration `name:"dispatch.start-delay" default:"0s" help:"How long to wait after the start before grouping alerts, so that all alerts have arrived: give --rules.alert.resend-delay of Prometheus."`

	Web webFlags `embed:"" prefix:"web."`

	MemoryRatio float64 `name:"auto-gomemlimit.ratio" default:"0.9" help:"Share of the container's or the system's RAM for GOMEMLIMIT, with the feature auto-gomemlimit."`
	Features    string  `name:"enable-feature" help:"Alertmanager's experimental features, separated by commas: ${features}."`

	LogLevel  choice[logLevels]  `name:"log.level" default:"info" help:"One of debug, info, warn, error."`
	LogFormat choice[logFormats] `name:"log.format" default:"logfmt" help:"One of logfmt, json."`

	ConfigINI string `name:"config.ini" placeholder:"FILE" help:"Grafana's ini file: its [unified_alerting] keys replace all cluster flags, data.retention and whatever else they cover. See config check."`

	Rules rulesFlags `embed:"" prefix:"rules."`

	PeerTimeout time.Duration `name:"cluster.peer-timeout" default:"15s" help:"How long to wait, times the position, before sending."`
	Cluster     clusterFlags  `embed:"" prefix:"cluster."`
}

// iniKeys are the keys of an ini file that count in place of other flags than those
// of the cluster, given there or not.
var iniKeys = map[string]string{
	"data.retention": "notification_log_retention", "rules.execute": "execute_alerts", "rules.single-evaluation": "ha_single_node_evaluation",
	"rules.evaluation-timeout": "evaluation_timeout", "rules.min-interval": "min_interval",
}

// AfterApply refuses flags that would be ignored.
func (c *alertmanagerCmd) AfterApply(k *kong.Context) error {
	if c.ConfigINI == "" {
		return c.Cluster.conflict(k, "")
	}
	for _, p := range k.Path {
		if p.Flag != nil && iniKeys[p.Flag.Name] != "" {
			return fmt.Errorf("--%s is given beside --config.ini, whose key %s says it: set it there, or leave it out", p.Flag.Name, iniKeys[p.Flag.Name])
		}
	}
	return c.Cluster.conflict(k, "--config.ini")
}

// Run runs the instance until ctx is done. All its output is in the log; if the
// log is JSON, so is the reason why it ends.
func (c *alertmanagerCmd) Run(ctx context.Context) error {
	logger := c.logger()
	slog.SetDefault(logger) // and what other packages log by package log
	err := c.run(ctx, logger)
	if err != nil && c.LogFormat == "json" {
		logger.Error("stopping, because of an error", "err", err)
		return loggedError{err}
	}
	return err
}

func (c *alertmanagerCmd) run(ctx context.Context, logger *slog.Logger) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	external, err := c.Web.externalURL()
	if err != nil {
		return err
	}
	opts := c.options(external, logger)
	if err := alertmanager.Check(opts); err != nil {
		return err
	}
	if err := c.limitMemory(logger); err != nil {
		return err
	}
	profileAll()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	config, enabled, err := c.cluster(logger)
	if err != nil {
		return err
	}
	rules, err := c.Rules.options(logger)
	if err != nil {
		return err
	}
	opts.PeerTimeout, opts.Retention = c.PeerTimeout, c.Retention // which an ini file sets too, as the limits
	opts.MaxSilences, opts.MaxSilenceSize = c.MaxSilences, c.MaxSilenceSize
	if c.Database != "" {
		store, err := persist.Open(persist.Options{
			DSN: c.Database, Cluster: config.Cluster, Node: config.Name, Interval: c.DatabaseInterval, Logger: logger, Registerer: registry,
		})
		if err != nil {
			return fmt.Errorf("--storage.database: %w", err)
		}
		defer func() { // after the App and the channel, which may change something until then
			ctx, cancel := context.WithTimeout(context.Background(), shutDownTimeout)
			defer cancel()
			err = errors.Join(err, store.Close(ctx))
		}()
		opts.Keep = func(key string, s backend.State) (backend.State, error) { return store.Keep(ctx, key, s) }
	}
	if enabled {
		config.Logger, config.Registerer = logger, registry
		channel, err := backend.Open(ctx, config)
		if err != nil {
			return c.blame(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), shutDownTimeout)
			defer cancel()
			err = errors.Join(err, channel.Close(ctx))
		}()
		opts.Cluster = channel
		c.announce(config, channel, logger)
	} else {
		logger.Info("starting", "version", ownVersion(), "alertmanager", alertmanager.Version, "cluster", "none", "web", c.Web.ListenAddress)
	}
	var generator *scheduler.Scheduler
	opts.OnReload = func() error { return generator.Reload() } // nothing is served before there is one
	app, err := alertmanager.New(opts, registry)
	if err != nil {
		return err
	}
	defer app.Close()
	rules.Cluster, rules.Send, rules.Registerer = opts.Cluster, app.Receive, registry
	if c.StoragePath != "" {
		rules.StateFile = filepath.Join(c.StoragePath, "rules")
	}
	if generator, err = scheduler.New(rules); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	defer generator.Close()
	app.Handle("/api/v1/history", generator.HistoryHandler())
	page := status.New(status.Options{Channel: opts.Cluster, Gatherer: registry, Title: "Alertmanager cluster", Act: "sends"})
	defer page.Close()
	app.Handle("/status", page)
	app.Handle("/status.json", page)
	return c.Web.serve(ctx, app, page.Close, logger)
}

// announce logs which node this is, and what notifications wait for.
func (c *alertmanagerCmd) announce(config backend.Config, channel backend.ClusterChannel, logger *slog.Logger) {
	logger.Info("starting", "version", ownVersion(), "alertmanager", alertmanager.Version, "backend", config.Backend,
		"cluster", config.Cluster, "name", channel.View().Self().Name, "web", c.Web.ListenAddress)
	if channel.View().Ready != backend.Settling {
		return
	}
	limit := cmp.Or(config.Timing.Settle, settleLimit)
	logger.Info("notifications wait until this node has another node's state, or knows that it is alone",
		"until_at_most", time.Now().Add(limit).Format(time.RFC3339))
}

// check refuses what Alertmanager refuses.
func (c *alertmanagerCmd) check() error {
	for name, d := range map[string]time.Duration{
		"cluster.peer-timeout": c.PeerTimeout, "data.retention": c.Retention, "data.maintenance-interval": c.MaintenanceInterval,
		"alerts.gc-interval": c.AlertGCInterval, "dispatch.maintenance-interval": c.DispatchMaintenance,
	} {
		if d <= 0 {
			return fmt.Errorf("%w: --%s: %v is not above 0", backend.ErrConfig, name, d)
		}
	}
	return nil
}

// options returns the instance's options, as far as the flags set them.
func (c *alertmanagerCmd) options(external *url.URL, logger *slog.Logger) alertmanager.Options {
	return alertmanager.Options{
		ConfigFile: c.ConfigFile, StoragePath: c.StoragePath, PeerTimeout: c.PeerTimeout, Retention: c.Retention,
		MaintenanceInterval: c.MaintenanceInterval, AlertGCInterval: c.AlertGCInterval, AlertNameLimit: c.AlertNameLimit,
		MaxSilences: c.MaxSilences, MaxSilenceSize: c.MaxSilenceSize, LogSilences: c.LogSilences,
		DispatchMaintenanceInterval: c.DispatchMaintenance, DispatchStartDelay: max(0, c.DispatchStartDelay),
		ExternalURL: external, RoutePrefix: c.Web.RoutePrefix, CORSOrigin: c.Web.CORSOrigin,
		GetConcurrency: c.Web.GetConcurrency, RequestTimeout: c.Web.Timeout, Features: c.Features, Logger: logger,
	}
}

// limitMemory is the feature auto-gomemlimit.
func (c *alertmanagerCmd) limitMemory(logger *slog.Logger) error {
	if !slices.Contains(strings.Split(c.Features, ","), featurecontrol.FeatureAutoGOMEMLIMIT) {
		return nil
	}
	if c.MemoryRatio <= 0 || c.MemoryRatio > 1 {
		return fmt.Errorf("%w: --auto-gomemlimit.ratio: %v is not above 0 and up to 1", backend.ErrConfig, c.MemoryRatio)
	}
	limit, err := memlimit.Set(memlimit.WithRatio(c.MemoryRatio), memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))
	if err != nil {
		logger.Warn("GOMEMLIMIT is not set automatically", "err", err)
	} else {
		logger.Info("GOMEMLIMIT is set automatically", "bytes", limit)
	}
	return nil
}

// profileAll makes pprof record blocking and locks too, if DEBUG is set in the
// environment, as Alertmanager does.
func profileAll() {
	if os.Getenv("DEBUG") != "" {
		runtime.SetBlockProfileRate(20)
		runtime.SetMutexProfileFraction(20)
	}
}

// cluster returns the configuration of the node, and whether there is a
// cluster: from the ini file, which sets more than that, or from the flags.
func (c *alertmanagerCmd) cluster(logger *slog.Logger) (backend.Config, bool, error) {
	if c.ConfigINI == "" {
		return c.Cluster.config()
	}
	s, err := grafanaini.Load(c.ConfigINI)
	if err != nil {
		return backend.Config{}, false, fmt.Errorf("--config.ini: %w", err)
	}
	c.PeerTimeout, c.Retention = s.PeerTimeout, s.NotificationLogRetention
	for _, limit := range []struct {
		flag, key string
		to        *int
		by        int
	}{
		{"silences.max-silences", "alertmanager_max_silences_count", &c.MaxSilences, s.MaxSilences},
		{"silences.max-silence-size-bytes", "alertmanager_max_silence_size_bytes", &c.MaxSilenceSize, s.MaxSilenceSize},
	} {
		if *limit.to != 0 && limit.by != 0 && *limit.to != limit.by {
			return backend.Config{}, false, usageError{fmt.Errorf("%w: --%s is %d, and the key %s in --config.ini is %d: leave one out", backend.ErrConfig, limit.flag, *limit.to, limit.key, limit.by)}
		}
		*limit.to = cmp.Or(limit.by, *limit.to)
	}
	c.Rules.byGrafana(s)
	warnOfINI(c.ConfigINI, s, logger)
	return s.Config, s.Config.Backend != "", nil
}

// warnOfINI logs what Grafana warns of when it loads the file, and which of its settings
// have no effect here.
func warnOfINI(path string, s grafanaini.Settings, logger *slog.Logger) {
	for _, v := range s.Values {
		if v.Older != "" {
			logger.Warn("a setting of the section [alerting] counts; set it in [unified_alerting]", "setting", v.Older, "instead", v.Key, "value", v.Text)
		}
	}
	var vain []string
	for _, i := range s.Ignored {
		vain = append(vain, i.Key)
	}
	if len(vain) > 0 {
		logger.Warn("settings have no effect here; the command config check says why", "file", path, "settings", strings.Join(vain, ", "))
	}
}

// blame says which flag has set what an error of the backend is about.
func (c *alertmanagerCmd) blame(err error) error {
	if c.ConfigINI != "" {
		return err
	}
	return c.Cluster.blame(err)
}

func (c *alertmanagerCmd) logger() *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // it is one of them
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
