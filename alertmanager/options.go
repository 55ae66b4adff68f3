package alertmanager

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/api"
	"github.com/prometheus/alertmanager/featurecontrol"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// Options say how to run one instance. ConfigFile is required; the zero value
// of the rest works.
type Options struct {
	// ConfigFile is an alertmanager.yml. Reload reads it again.
	ConfigFile string

	// Cluster is the instance's seat among the others, which the App uses but does
	// not close; nil means that there are no others.
	Cluster backend.ClusterChannel

	// Name is this instance's name in the API; empty means its name in Cluster.
	Name string

	// PeerTimeout is how long an instance waits, times its position, before it
	// sends. Default 15s.
	PeerTimeout time.Duration

	// StoragePath is a directory for Alertmanager's own snapshot files, nflog and
	// silences, made if need be; empty means that nothing is stored.
	StoragePath string

	// Keep, if not nil, is called with each state and its key before the state is
	// shared or used, and returns the state to share instead: see the method Keep
	// of persist.Store. What it is given is a backend.EntryState, and should remain one.
	// It must not call the App.
	Keep func(key string, s backend.State) (backend.State, error)

	// OnReload, if not nil, is called by Reload, whether or not the configuration
	// file could be used, so that the application can reload its other files.
	OnReload func() error

	// Retention is how long the notification log keeps entries, and the silences
	// expired ones. Default 120h.
	Retention time.Duration

	// MaintenanceInterval is how often they are cleaned and stored. Default 15m.
	MaintenanceInterval time.Duration

	// AlertGCInterval is how often resolved alerts are forgotten. Default 30m.
	AlertGCInterval time.Duration

	// AlertNameLimit is how many alerts there may be of one name; 0 means any number.
	AlertNameLimit int

	// MaxSilences and MaxSilenceSize bound the number of silences, expired ones
	// included, and the bytes of one; 0 means no bound. LogSilences logs each
	// change of a silence.
	MaxSilences    int
	MaxSilenceSize int
	LogSilences    bool

	// DispatchMaintenanceInterval is how often groups without alerts are removed.
	// Default 30s.
	DispatchMaintenanceInterval time.Duration

	// DispatchStartDelay is how long an instance waits after its start before it
	// groups alerts, so that all alerts have arrived: else it may send an alert
	// before it knows the one that inhibits it. Default none.
	DispatchStartDelay time.Duration

	// ExternalURL is where people reach this instance; notifications link to it.
	ExternalURL *url.URL

	// RoutePrefix is put before every path; empty means ExternalURL's path.
	RoutePrefix string

	// CORSOrigin is a regular expression for the whole origins whose pages may call the
	// API; empty means none.
	CORSOrigin string

	// GetConcurrency is how many GET requests are served at once; more are
	// answered with 503. Default GOMAXPROCS, and 8 at least.
	GetConcurrency int

	// RequestTimeout bounds a request; 0 means no bound.
	RequestTimeout time.Duration

	// Features are Alertmanager's experimental features, separated by commas, as
	// in its flag --enable-feature. classic-mode and utf8-strict-mode apply to the
	// whole process: the first instance decides, and New refuses one that differs.
	// By default names of labels are any UTF-8. The feature auto-gomemlimit is up
	// to the program.
	Features string

	// Logger receives all logs; nil means slog.Default().
	Logger *slog.Logger

	flags featurecontrol.Flagger          // Features, read
	cors  func(http.Handler) http.Handler // CORSOrigin, read
}

func (o *Options) complete() error {
	if o.ConfigFile == "" {
		return params.Bad("config file", "none is given")
	}
	if err := cmp.Or(
		params.OrDefault("peer timeout", &o.PeerTimeout, 15*time.Second),
		params.OrDefault("retention", &o.Retention, 120*time.Hour),
		params.OrDefault("maintenance interval", &o.MaintenanceInterval, 15*time.Minute),
		params.OrDefault("alerts gc interval", &o.AlertGCInterval, 30*time.Minute),
		params.OrDefault("dispatch maintenance interval", &o.DispatchMaintenanceInterval, 30*time.Second),
		params.OrDefault("dispatch start delay", &o.DispatchStartDelay, 0),
	); err != nil {
		return err
	}
	if o.ExternalURL == nil {
		o.ExternalURL = &url.URL{Scheme: "http", Host: "localhost:9093"}
	}
	if s := o.ExternalURL.Scheme; s != "http" && s != "https" {
		return params.Bad("external url", "scheme %q is none of http, https", s)
	}
	if o.RoutePrefix == "" {
		o.RoutePrefix = o.ExternalURL.Path
	}
	o.RoutePrefix = "/" + strings.Trim(o.RoutePrefix, "/")
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	var err error
	if o.cors, err = api.NewCORSHandler(o.CORSOrigin); err != nil {
		return params.Bad("cors origin", "%w", err)
	}
	o.flags, err = features(o.Features, o.Logger)
	return err
}
