package alertmanager

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/route"

	"github.com/clusterchannel/clusterchannel/alertmanager/internal/ui"
	"github.com/clusterchannel/clusterchannel/backend"
)

// routes returns the HTTP interface, below the route prefix.
func (a *App) routes() *http.ServeMux {
	r := route.New().WithInstrumentation(a.reload.metrics.instrument)
	if prefix := a.opts.RoutePrefix; prefix != "/" {
		r.Get("/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, prefix, http.StatusFound) })
		r = r.WithPrefix(prefix)
	}
	r.Get("/metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}).ServeHTTP)
	r.Post("/-/reload", a.serveReload)
	for _, method := range []func(string, http.HandlerFunc){r.Get, r.Head} {
		method("/", ui.Serve)
		method("/favicon.ico", ui.ServeIcon)
		method("/-/healthy", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "OK") })
		method("/-/ready", a.serveReady)
	}
	for _, method := range []func(string, http.HandlerFunc){r.Get, r.Post} {
		method("/debug/pprof/*name", serveProfile)
	}
	return a.api.Register(r, a.opts.RoutePrefix)
}

// serveProfile is pprof's index, and each profile of it.
func serveProfile(w http.ResponseWriter, r *http.Request) {
	switch name := strings.Trim(route.Param(r.Context(), "name"), "/"); name {
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	case "":
		r.URL.Path = "/debug/pprof/" // which it needs to be, below any prefix
		pprof.Index(w, r)
	default:
		pprof.Handler(name).ServeHTTP(w, r)
	}
}

// serveReady answers 503 until the state of the others is merged, or the
// cluster has given up waiting for it.
func (a *App) serveReady(w http.ResponseWriter, _ *http.Request) {
	if a.opts.Cluster != nil && a.opts.Cluster.View().Ready == backend.Settling {
		answer(w, http.StatusServiceUnavailable, "settling")
		return
	}
	answer(w, http.StatusOK, "OK")
}

func (a *App) serveReload(w http.ResponseWriter, _ *http.Request) {
	if err := a.Reload(); err != nil {
		http.Error(w, fmt.Sprintf("failed to reload config: %s", err), http.StatusInternalServerError)
	}
}

func answer(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // the client may be gone
}
