package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// SendFunc sends alerts to a receiver. An alert that is over ends in the past.
// One that fires ends at the time when it counts as over unless it is sent
// again.
type SendFunc func(ctx context.Context, alerts ...*model.Alert) error

// Options say what to evaluate, and for whom. Send is required, and QueryURL if
// there are RuleFiles; the zero value of the rest works.
type Options struct {
	// RuleFiles are paths or glob patterns of rule files.
	RuleFiles []string

	// QueryURL is the base of a Prometheus-compatible HTTP API, with any prefix.
	// Alerts link to it, so that people can see their expressions.
	QueryURL string

	// HTTPClient sends the queries; nil means a plain client. See NewHTTPClient.
	HTTPClient *http.Client

	// Send receives the alerts, on many goroutines. It should not block.
	Send SendFunc

	// Cluster is the node's seat among the others, which the Scheduler uses but does
	// not close; nil means that there are no others.
	Cluster backend.ClusterChannel

	// Name is this node's name in the history; empty means its name in Cluster, or
	// else the host's.
	Name string

	// ReceiveOnly stops evaluation on this node; with SingleEvaluation it still
	// receives the alerts of the others. It is Grafana's execute_alerts = false.
	ReceiveOnly bool

	// SingleEvaluation makes one node of the cluster evaluate each group, as far
	// as that is certain. It must be the same on all nodes. It is Grafana's
	// ha_single_node_evaluation.
	SingleEvaluation bool

	// EvaluationTimeout bounds each query. Default 30s.
	EvaluationTimeout time.Duration

	// Interval is the interval of groups that have none. Default 1m.
	Interval time.Duration

	// MinInterval is the shortest interval: shorter ones are raised to it. Default
	// none.
	MinInterval time.Duration

	// ResendDelay is how long an alert that still fires is not sent to this node's
	// receiver again. Default 1m.
	ResendDelay time.Duration

	// Features are Prometheus's features for expressions, separated by commas, as
	// in its flag --enable-feature: promql-experimental-functions and others that
	// begin with promql. The queried server must have them.
	Features string

	// StateFile is a file, in a directory that exists, for the state of the rules:
	// with it, alerts continue after a restart, and neither for nor
	// keep_firing_for begins again. Empty means that nothing is saved.
	StateFile string

	// HistorySize is how many transitions are kept. Default 1000.
	HistorySize int

	// Logger receives all logs; nil means slog.Default().
	Logger *slog.Logger

	// Registerer receives the metrics; nil means none. No two Schedulers may share
	// one.
	Registerer prometheus.Registerer

	parsing parser.Options // Features, read
}

func (o *Options) complete() error {
	var err error
	if o.parsing, err = parse(o.Features); err != nil {
		return err
	}
	if o.Send == nil {
		return params.Bad("send", "no receiver is given")
	}
	if err := cmp.Or(
		params.OrDefault("evaluation timeout", &o.EvaluationTimeout, 30*time.Second),
		params.OrDefault("interval", &o.Interval, time.Minute),
		params.OrDefault("min interval", &o.MinInterval, 0),
		params.OrDefault("resend delay", &o.ResendDelay, time.Minute),
		params.OrDefault("history size", &o.HistorySize, 1000),
	); err != nil {
		return err
	}
	o.Interval = max(o.Interval, o.MinInterval)
	if o.Name == "" && o.Cluster != nil {
		o.Name = o.Cluster.View().Self().Name
	}
	if o.Name == "" {
		o.Name, _ = os.Hostname() // else it stays empty
	}
	if o.HTTPClient == nil {
		o.HTTPClient = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.ReceiveOnly || len(o.RuleFiles) == 0 {
		return nil
	}
	return checkQueryURL(o.QueryURL)
}

func checkQueryURL(raw string) error {
	if raw == "" {
		return params.Bad("query url", "none is given; it is the base of a Prometheus-compatible API, such as http://localhost:9090")
	}
	u, err := url.Parse(raw)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // without the text, which may hold a password
		}
		return params.Bad("query url", "%w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%w: query url %q: want one that begins with http:// or https:// and a host", backend.ErrConfig, u.Redacted())
	}
	return nil
}
