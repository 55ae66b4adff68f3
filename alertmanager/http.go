package alertmanager

import (
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/route"

	"github.com/clusterchannel/clusterchannel/backend"
)

// routes returns the HTTP interface, below the route prefix.
func (a *App) routes() *http.ServeMux {
	root := route.New()
	r := root
	if prefix := a.opts.RoutePrefix; prefix != "/" {
		r = root.WithPrefix(prefix)
	}
	r.Get("/metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}).ServeHTTP)
	r.Post("/-/reload", a.serveReload)
	for _, method := range []func(string, http.HandlerFunc){r.Get, r.Head} {
		method("/-/healthy", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "OK") })
		method("/-/ready", a.serveReady)
	}
	return a.api.Register(root, a.opts.RoutePrefix)
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
