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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
)

// webFlags say where and how the instance answers HTTP.
type webFlags struct {
	ListenAddress  []string      `name:"listen-address" sep:"none" default:":9093" help:"Address of the API; repeatable."`
	SystemdSocket  bool          `name:"systemd-socket" negatable:"" help:"Listen on systemd's sockets instead of addresses."`
	ConfigFile     string        `name:"config.file" help:"File with TLS and authentication of the API, in the format of Prometheus's exporter-toolkit."`
	ExternalURL    string        `name:"external-url" help:"URL at which people reach this instance; notifications link to it."`
	RoutePrefix    string        `name:"route-prefix" help:"Prefix of every path; default: the path of web.external-url."`
	CORSOrigin     string        `name:"cors.origin" help:"Regular expression for the whole origins whose pages may call the API; default: none."`
	GetConcurrency int           `name:"get-concurrency" default:"0" help:"How many GET requests to answer at once; 0 for GOMAXPROCS, and 8 at least."`
	Timeout        time.Duration `name:"timeout" default:"0s" help:"Timeout of a request; 0 for none."`
}

// serve answers HTTP, and reloads at SIGHUP, until ctx is done. It calls end to
// finish requests that would not end by themselves.
func (f *webFlags) serve(ctx context.Context, app *alertmanager.App, end func(), logger *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	server := &http.Server{
		Handler: app.Handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(end)
	failed := make(chan error, 1)
	go func() {
		failed <- web.ListenAndServe(server, &web.FlagConfig{
			WebListenAddresses: &f.ListenAddress, WebSystemdSocket: &f.SystemdSocket, WebConfigFile: &f.ConfigFile,
		}, logger)
	}()
	for {
		select {
		case <-hup:
			_ = app.Reload() // logged there; the former configuration stays
		case err := <-failed:
			return notServed(err)
		case <-ctx.Done():
			logger.Info("stopping, because of a signal")
			ctx, cancel := context.WithTimeout(context.Background(), shutDownTimeout)
			defer cancel()
			err := server.Shutdown(ctx)
			<-failed
			return err
		}
	}
}

// notServed names the flag that has to change.
func notServed(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "listen" {
		return fmt.Errorf("--web.listen-address: %w; give an address of this host at which nobody listens", err)
	}
	return fmt.Errorf("web: %w", err)
}

// externalURL is the given URL, or one from the host's name and the first port.
func (f *webFlags) externalURL() (*url.URL, error) {
	raw := f.ExternalURL
	if raw == "" {
		_, name, err := net.SplitHostPort(f.ListenAddress[0])
		if err != nil {
			return nil, fmt.Errorf("%w: --web.listen-address: %w", backend.ErrConfig, err)
		}
		port, err := net.LookupPort("tcp", name)
		if err != nil {
			return nil, fmt.Errorf("%w: --web.listen-address: %w", backend.ErrConfig, err)
		}
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("--web.external-url is not given and the host has no name: %w", err)
		}
		raw = "http://" + net.JoinHostPort(host, strconv.Itoa(port))
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: --web.external-url: %w", backend.ErrConfig, err)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if u.Path != "" && !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	return u, nil
}
