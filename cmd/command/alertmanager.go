package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/persist"
	"github.com/clusterchannel/clusterchannel/scheduler"
	"github.com/clusterchannel/clusterchannel/status"
)

const shutDownTimeout = 10 * time.Second

// alertmanagerCmd runs one instance.
type alertmanagerCmd struct {
	ConfigFile          string        `name:"config.file" default:"alertmanager.yml" help:"Alertmanager configuration file."`
	StoragePath         string        `name:"storage.path" default:"data/" help:"Directory for the snapshots of silences and notification log; empty stores nothing."`
	Database            string        `name:"storage.database" env:"CLUSTERCHANNEL_STORAGE_DATABASE" placeholder:"DSN" help:"Database to keep silences and notification log in besides: sqlite:/path/file.db, postgres://..., mysql://... The environment hides a password better than a flag."`
	DatabaseInterval    time.Duration `name:"storage.database-interval" default:"30s" help:"How often to save there what has changed."`
	Retention           time.Duration `name:"data.retention" default:"120h" help:"How long to keep what is over."`
	MaintenanceInterval time.Duration `name:"data.maintenance-interval" default:"15m" help:"How often to clean and store."`
	AlertGCInterval     time.Duration `name:"alerts.gc-interval" default:"30m" help:"How often to forget resolved alerts."`

	WebListenAddress []string `name:"web.listen-address" sep:"none" default:":9093" help:"Address of the API; repeatable."`
	WebConfigFile    string   `name:"web.config.file" help:"TLS and authentication of the API, a file as of Prometheus's exporter-toolkit."`
	ExternalURL      string   `name:"web.external-url" help:"Where people reach this instance; stands in notifications."`
	RoutePrefix      string   `name:"web.route-prefix" help:"Put before every path; default: the path of web.external-url."`

	LogLevel  string `name:"log.level" default:"info" enum:"debug,info,warn,error" help:"One of ${enum}."`
	LogFormat string `name:"log.format" default:"logfmt" enum:"logfmt,json" help:"One of ${enum}."`

	ConfigINI string `name:"config.ini" placeholder:"FILE" help:"Grafana's ini file: its [unified_alerting] keys take the place of all cluster flags, of data.retention and of what else they cover. See config check."`

	Rules rulesFlags `embed:"" prefix:"rules."`

	PeerTimeout time.Duration `name:"cluster.peer-timeout" default:"15s" help:"How long to wait, times the position, before sending."`
	Cluster     clusterFlags  `embed:"" prefix:"cluster."`
}

// AfterApply refuses flags that would be ignored.
func (c *alertmanagerCmd) AfterApply(k *kong.Context) error {
	instead := ""
	if c.ConfigINI != "" {
		instead = "--config.ini"
	}
	return c.Cluster.conflict(k, instead)
}

// Run runs the instance until ctx is done.
func (c *alertmanagerCmd) Run(ctx context.Context) (err error) {
	if c.PeerTimeout == 0 {
		return fmt.Errorf("%w: --cluster.peer-timeout: %v is not above 0", backend.ErrConfig, c.PeerTimeout)
	}
	if err := alertmanager.Check(alertmanager.Options{ConfigFile: c.ConfigFile}); err != nil {
		return err
	}
	logger := c.logger()
	external, err := c.externalURL()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	config, enabled, err := c.cluster()
	if err != nil {
		return err
	}
	rules, err := c.Rules.options(logger)
	if err != nil {
		return err
	}
	opts := alertmanager.Options{
		ConfigFile: c.ConfigFile, StoragePath: c.StoragePath, PeerTimeout: c.PeerTimeout, Retention: c.Retention,
		MaintenanceInterval: c.MaintenanceInterval, AlertGCInterval: c.AlertGCInterval,
		ExternalURL: external, RoutePrefix: c.RoutePrefix, Logger: logger,
	}
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
	page := status.New(status.Options{Channel: opts.Cluster, Gatherer: registry, Title: "Alertmanager cluster"})
	defer page.Close()
	app.Handle("/status", page)
	app.Handle("/status.json", page)
	return c.serve(ctx, app, page.Close, logger)
}

// cluster returns the configuration of the channel, and whether there is to be
// one: by the ini file, which sets more than that, or by the flags.
func (c *alertmanagerCmd) cluster() (backend.Config, bool, error) {
	if c.ConfigINI == "" {
		return c.Cluster.config()
	}
	s, err := grafanaini.Load(c.ConfigINI)
	if err != nil {
		return backend.Config{}, false, fmt.Errorf("--config.ini: %w", err)
	}
	c.PeerTimeout, c.Retention = s.PeerTimeout, s.NotificationLogRetention
	c.Rules.byGrafana(s)
	return s.Config, s.Config.Backend != "", nil
}

// blame says which flag has set what an error of the backend is about.
func (c *alertmanagerCmd) blame(err error) error {
	if c.ConfigINI != "" {
		return err
	}
	return c.Cluster.blame(err)
}

// serve answers HTTP, and reloads at SIGHUP, until ctx is done. It calls end to
// have requests end that have no end of their own.
func (c *alertmanagerCmd) serve(ctx context.Context, app *alertmanager.App, end func(), logger *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	systemd := false
	server := &http.Server{Handler: app.Handler(), ReadHeaderTimeout: 10 * time.Second}
	server.RegisterOnShutdown(end)
	failed := make(chan error, 1)
	go func() {
		failed <- web.ListenAndServe(server, &web.FlagConfig{
			WebListenAddresses: &c.WebListenAddress, WebSystemdSocket: &systemd, WebConfigFile: &c.WebConfigFile,
		}, logger)
	}()
	for {
		select {
		case <-hup:
			_ = app.Reload() // logged there; the former configuration stays
		case err := <-failed:
			return fmt.Errorf("web: %w", err)
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.Background(), shutDownTimeout)
			defer cancel()
			err := server.Shutdown(ctx)
			<-failed
			return err
		}
	}
}

func (c *alertmanagerCmd) logger() *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // the parser allows only levels
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// externalURL is the given one, or that of the host and the first port.
func (c *alertmanagerCmd) externalURL() (*url.URL, error) {
	raw := c.ExternalURL
	if raw == "" {
		_, port, err := net.SplitHostPort(c.WebListenAddress[0])
		if err != nil {
			return nil, fmt.Errorf("%w: --web.listen-address: %w", backend.ErrConfig, err)
		}
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("--web.external-url is not given and the host has no name: %w", err)
		}
		raw = "http://" + net.JoinHostPort(host, port)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: --web.external-url: %w", backend.ErrConfig, err)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}
