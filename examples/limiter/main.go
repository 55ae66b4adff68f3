// Command limiter is a rate limit that the nodes of a service share: as many requests
// of a client are let through in a period as its limit says, on all nodes together.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
	_ "github.com/clusterchannel/clusterchannel/backends/redis"
)

func main() {
	period := flag.Duration("period", time.Minute, "in which a limit applies")
	flag.Parse()
	if flag.NArg() != 2 || *period < time.Second {
		log.Fatal("usage: limiter [-period 1m] URL ADDRESS")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", flag.Arg(1))
	if err == nil {
		err = run(ctx, flag.Arg(0), *period, listener)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run is a node of the cluster that url names, until ctx is done.
func run(ctx context.Context, url string, period time.Duration, listener net.Listener) error {
	node, err := backend.OpenURL(ctx, url)
	if err != nil {
		return err
	}
	defer node.Close(context.WithoutCancel(ctx))
	limits, err := newLimiter(node, period)
	if err != nil {
		return err
	}
	defer limits.close()
	if err := node.WaitReady(ctx); err != nil { // until it knows what the others know
		return err
	}
	server := &http.Server{Handler: limits.handler(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handler has two requests: PUT sets the limit of a client, GET is a request of it.
func (l *limiter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /{client}/{limit}", func(w http.ResponseWriter, r *http.Request) {
		limit, err := strconv.Atoi(r.PathValue("limit"))
		if err == nil {
			err = l.limits.Set(r.PathValue("client"), limit)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("GET /{client}", func(w http.ResponseWriter, r *http.Request) {
		used, limit, err := l.use(r.PathValue("client"))
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case used > limit:
			http.Error(w, fmt.Sprintf("all %d are used", limit), http.StatusTooManyRequests)
		default:
			fmt.Fprintf(w, "%d of %d\n", used, limit)
		}
	})
	return mux
}
