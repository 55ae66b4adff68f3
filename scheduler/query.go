package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"

	"github.com/clusterchannel/clusterchannel/backend"
)

// maxResponse bounds the answer to a query.
const maxResponse = 64 << 20

// NewHTTPClient returns the client that file describes, in the format of
// Prometheus's http_config: basic_auth, authorization, oauth2, tls_config,
// proxy_url. An empty file means a plain client.
func NewHTTPClient(file string) (*http.Client, error) {
	c := &config.DefaultHTTPClientConfig
	if file != "" {
		var err error
		if c, _, err = config.LoadHTTPConfigFile(file); err != nil {
			return nil, fmt.Errorf("%w: http config file %s: %w", backend.ErrConfig, file, err)
		}
	}
	client, err := config.NewClientFromConfig(*c, "rules")
	if err != nil {
		return nil, fmt.Errorf("%w: http config file %s: %w", backend.ErrConfig, file, err)
	}
	return client, nil
}

// query returns the function by which rules query the API at o.QueryURL.
func query(o *Options) (rules.QueryFunc, error) {
	client := *o.HTTPClient
	client.Transport = bounded{client.Transport}
	c, err := api.NewClient(api.Config{Address: o.QueryURL, Client: &client})
	if err != nil {
		return nil, fmt.Errorf("%w: query url: %w", backend.ErrConfig, err)
	}
	asker, shown := apiv1.NewAPI(c), display(o.QueryURL)
	return func(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
		limited, cancel := context.WithTimeout(ctx, o.EvaluationTimeout)
		defer cancel()
		value, warnings, _, err := asker.Query(limited, expr, at)
		switch {
		case ctx.Err() != nil: // the Scheduler closes
			return nil, promql.ErrQueryCanceled("the scheduler is closing")
		case limited.Err() != nil && err != nil:
			return nil, fmt.Errorf("query: %s: no answer within the evaluation timeout, %v: %w", shown, o.EvaluationTimeout, plain(err))
		case err != nil:
			return nil, fmt.Errorf("query: %s: %w", shown, plain(err))
		}
		for _, w := range warnings {
			o.Logger.Warn("a query was answered with a warning", "expr", expr, "warning", w)
		}
		return vector(value)
	}, nil
}

// plain is err without the URL of the request: its user and its parameters may
// be secrets.
func plain(err error) error {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		return asked.Err
	}
	return err
}

var errNoVector = errors.New("query: the result is neither a vector nor a scalar")

func vector(value model.Value) (promql.Vector, error) {
	switch v := value.(type) {
	case model.Vector:
		all := make(promql.Vector, 0, len(v))
		for _, s := range v {
			all = append(all, promql.Sample{T: int64(s.Timestamp), F: float64(s.Value), Metric: metric(s.Metric)})
		}
		return all, nil
	case *model.Scalar:
		return promql.Vector{{T: int64(v.Timestamp), F: float64(v.Value), Metric: labels.EmptyLabels()}}, nil
	default:
		return nil, errNoVector
	}
}

func metric(m model.Metric) labels.Labels {
	b := labels.NewScratchBuilder(len(m))
	for name, value := range m {
		b.Add(string(name), string(value))
	}
	b.Sort()
	return b.Labels()
}

// display is raw for people: without what may be a secret, so that a path can
// be appended.
func display(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User, u.Path, u.RawQuery, u.Fragment = nil, strings.TrimRight(u.Path, "/"), "", ""
	return u.String()
}

// bounded refuses answers that are too large to hold.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	next := b.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, maxResponse}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the answer exceeds %d MiB", maxResponse>>20)
	}
	return n, err
}
