package command

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

//go:embed demo/alertmanager.yml
var demoConfig string

//go:embed demo/alerts.json
var demoAlerts []byte

const sinkURL = "http://127.0.0.1:5001/" // of the shipped configuration

const interrupted = "Interrupted: the nodes end, and leave nothing behind."

// demoCmd demonstrates the main purpose: nodes in separate processes, one of
// which is killed.
type demoCmd struct {
	Nodes   int               `default:"3" help:"Number of nodes, 2 to 50."`
	Backend string            `default:"${backend}" help:"Key of the backend."`
	Param   map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Parameter of the backend; repeatable."`
	Alerts  string            `type:"path" placeholder:"FILE" help:"Your own alerts, a JSON array as for POST /api/v2/alerts."`
	Serve   bool              `help:"Leave the nodes running for amtool and curl, until interrupted."`
	JSON    bool              `name:"json" help:"Print the outcome as JSON."`
	Logs    bool              `help:"Show the nodes' logs."`
}

// Run runs the demo.
func (c *demoCmd) Run(ctx context.Context) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // of a terminal that is closed
	defer stop()
	if c.Nodes < 2 || c.Nodes > 50 {
		return fmt.Errorf("%w: --nodes: %d is not within 2 to 50", backend.ErrConfig, c.Nodes)
	}
	if _, ok := backend.Lookup(c.Backend); !ok {
		return fmt.Errorf("%w: --backend: %q is none of %s", backend.ErrUnknownBackend, c.Backend, strings.Join(backend.Registered(), ", "))
	}
	alerts, err := c.alerts()
	if err != nil {
		return err
	}
	if err := c.reach(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "clusterchannel-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sink, err := startSink()
	if err != nil {
		return err
	}
	defer sink.close()
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte(strings.Replace(demoConfig, sinkURL, sink.url, 1)), 0o600); err != nil {
		return err
	}
	f, err := newFleet(c, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	s := &show{demo: c, fleet: f, sink: sink, alerts: alerts, out: os.Stdout}
	err = s.run(ctx)
	if c.JSON {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(s.outcome(err)))
	}
	switch {
	case ctx.Err() != nil:
		s.printf("\n%s\n", interrupted)
		return loggedError{ctx.Err()}
	case err != nil:
		return err
	case !c.Serve:
		s.printf("With --serve the nodes go on, and each has a page of its cluster at /status.\n")
		return nil
	}
	s.printURLs()
	<-ctx.Done()
	s.printf("\n%s\n", interrupted)
	return nil
}

// reach reports, before any node starts, why the nodes cannot reach the server,
// if there is one: the nodes themselves would wait for it.
func (c *demoCmd) reach(ctx context.Context) error {
	switch b, _ := backend.Lookup(c.Backend); {
	case b.Mesh != nil:
		return nil
	case b.Local:
		return fmt.Errorf("%w: --backend: %s joins nodes of one process; the demo's nodes are separate processes", backend.ErrConfig, c.Backend)
	}
	channel, err := backend.Open(ctx, backend.Config{
		Backend: c.Backend, Cluster: fmt.Sprintf("demo-%d-reach", os.Getpid()), Name: "reach", Params: c.Param,
		OnStartFailure: backend.Fail, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return fmt.Errorf("--backend %s, --param: %w", c.Backend, err)
	}
	return channel.Close(ctx)
}

// alert is one alert in Alertmanager's JSON.
type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     *time.Time        `json:"startsAt,omitempty"`
	EndsAt       *time.Time        `json:"endsAt,omitempty"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// alerts returns the user's alerts, or the shipped one.
func (c *demoCmd) alerts() ([]alert, error) {
	b, name := demoAlerts, "the shipped alerts"
	if c.Alerts != "" {
		var err error
		if b, err = os.ReadFile(c.Alerts); err != nil {
			return nil, fmt.Errorf("--alerts: %w", err)
		}
		name = c.Alerts
	}
	var alerts []alert
	if err := json.Unmarshal(b, &alerts); err != nil {
		var syntax *json.SyntaxError
		var typ *json.UnmarshalTypeError
		at := ""
		if errors.As(err, &syntax) {
			at = fmt.Sprintf(" at byte %d", syntax.Offset)
		} else if errors.As(err, &typ) {
			at = fmt.Sprintf(" at byte %d", typ.Offset)
		}
		return nil, fmt.Errorf("%w: --alerts: %s%s: %w; want a JSON array of alerts", backend.ErrConfig, name, at, err)
	}
	if len(alerts) == 0 {
		return nil, fmt.Errorf("%w: --alerts: %s holds no alert", backend.ErrConfig, name)
	}
	seen := map[string]bool{}
	for i, a := range alerts {
		if a.Labels["alertname"] == "" {
			return nil, fmt.Errorf("%w: --alerts: %s: alert %d has no label alertname", backend.ErrConfig, name, i)
		}
		if id := identity(a.Labels); seen[id] {
			return nil, fmt.Errorf("%w: --alerts: %s: alert %d has the labels of an earlier one", backend.ErrConfig, name, i)
		} else {
			seen[id] = true
		}
	}
	return alerts, nil
}
