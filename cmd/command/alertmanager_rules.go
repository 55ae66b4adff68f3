package command

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/scheduler"
)

// rulesFlags say which rules the instance evaluates, if any.
type rulesFlags struct {
	File              []string      `name:"file" sep:"none" placeholder:"PATTERN" help:"Rule file in Prometheus's format, or a pattern that matches some; repeatable. Read again together with the configuration file."`
	QueryURL          string        `name:"query-url" env:"CLUSTERCHANNEL_RULES_QUERY_URL" placeholder:"URL" help:"Base of the Prometheus-compatible HTTP API that answers the queries of rules."`
	HTTPConfig        string        `name:"http-config" placeholder:"FILE" help:"File with credentials and TLS for that API, in the format of Prometheus's http_config."`
	Execute           bool          `name:"execute" default:"true" negatable:"" help:"Evaluate on this instance."`
	SingleEvaluation  bool          `name:"single-evaluation" negatable:"" help:"Let one instance of the cluster evaluate each group; must be the same on all of them."`
	EvaluationTimeout time.Duration `name:"evaluation-timeout" default:"30s" help:"Timeout of a query."`
	Interval          time.Duration `name:"interval" default:"1m" help:"Interval of groups that set none."`
	Features          string        `name:"enable-feature" help:"Prometheus's features of PromQL, separated by commas, such as promql-experimental-functions."`
	MinInterval       time.Duration `name:"min-interval" help:"Shortest interval of a group: shorter ones are raised to it; default: none."`
}

// byGrafana applies the ini file's settings of evaluation. Without alerting
// there is none.
func (f *rulesFlags) byGrafana(s grafanaini.Settings) {
	f.Execute, f.SingleEvaluation = s.Enabled && s.ExecuteAlerts, s.SingleNodeEvaluation
	f.EvaluationTimeout, f.MinInterval = s.EvaluationTimeout, s.MinInterval
}

// options returns the Scheduler's options, as far as the flags set them. Errors
// in the files are reported before the instance joins a cluster.
func (f *rulesFlags) options(logger *slog.Logger) (scheduler.Options, error) {
	if len(f.File) > 0 && f.QueryURL == "" {
		return scheduler.Options{}, usageError{fmt.Errorf("%w: --rules.file needs --rules.query-url, the base of a Prometheus-compatible API such as http://localhost:9090", backend.ErrConfig)}
	}
	if err := scheduler.CheckFiles(f.File, f.Features); err != nil {
		return scheduler.Options{}, fmt.Errorf("--rules.file: %w", err)
	}
	client, err := scheduler.NewHTTPClient(f.HTTPConfig)
	if err != nil {
		return scheduler.Options{}, fmt.Errorf("--rules.http-config: %w", err)
	}
	return scheduler.Options{
		RuleFiles: f.File, QueryURL: f.QueryURL, HTTPClient: client,
		ReceiveOnly: !f.Execute, SingleEvaluation: f.SingleEvaluation,
		EvaluationTimeout: f.EvaluationTimeout, Interval: f.Interval, MinInterval: f.MinInterval, Features: f.Features, Logger: logger.With("component", "scheduler"),
	}, nil
}
