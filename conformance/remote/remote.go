// Package remote makes the harness for a backend whose server is up already and
// belongs to somebody else. The suite stands between that server and each node,
// so that it can cut a node off; it never stops the server.
package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/conformance"
)

// Harness returns the harness of a registered backend with params, one of which
// holds the address of the server; a backend within one process needs none. It
// opens a driver once: an error that wraps driver.ErrConfig says what is wrong
// with params, and one that wraps driver.ErrUnavailable says that the server
// cannot be reached.
//
// The harness has no hook that reads from the server. It has none that sends as
// a stranger if the transport knows its members by itself.
func Harness(ctx context.Context, name string, params map[string]string) (conformance.Harness, error) {
	b, ok := backend.Lookup(name)
	if !ok {
		return conformance.Harness{}, fmt.Errorf("%w: %q is none of %s", backend.ErrUnknownBackend, name, strings.Join(backend.Registered(), ", "))
	}
	if b.Mesh != nil {
		return conformance.Harness{}, fmt.Errorf("%w: %s has no server: its nodes meet each other; run its own tests", driver.ErrConfig, name)
	}
	s, err := find(b, params)
	if err != nil {
		return conformance.Harness{}, err
	}
	caps, err := probe(ctx, b.Open, params)
	if err != nil {
		return conformance.Harness{}, err
	}
	h := conformance.Harness{
		Backend: name,
		Address: s.address,
		Params:  func(_ testing.TB, n conformance.Node) map[string]string { return s.through(n.Server) },
		Bad:     map[string]map[string]string{},                                                 // bad parameters common to all backends are still checked
		Timing:  conformance.Timing{Channel: backend.Timing{Heartbeat: 250 * time.Millisecond}}, // the server may be far away
	}
	if !caps.Membership {
		h.Inject = stranger{b.Open, params}.inject
	}
	return h, nil
}

// server is the address of the server, and its place in the parameters.
type server struct {
	params  map[string]string
	key     string
	address string // host:port; empty for a backend without a server
}

// addressKeys returns the names of the parameter that holds the address of a
// server: the one for the host of a URL.
func addressKeys(b driver.Backend) []string {
	const part = "address"
	if b.Params == nil {
		return []string{part}
	}
	for _, k := range params.Keys(b.Params) {
		if k.Alias == part {
			return []string{k.Name, part}
		}
	}
	return []string{part}
}

func find(b driver.Backend, params map[string]string) (server, error) {
	keys := addressKeys(b)
	for _, key := range keys {
		value, ok := params[key]
		if !ok {
			continue
		}
		if strings.Contains(value, ",") {
			return server{}, fmt.Errorf("%w: %s: give one server: the suite stands between it and each node", driver.ErrConfig, key)
		}
		address := hostPort(value)
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return server{}, fmt.Errorf("%w: %s: has no host:port", driver.ErrConfig, key)
		}
		return server{params, key, address}, nil
	}
	if b.Local {
		return server{params: params}, nil
	}
	return server{}, fmt.Errorf("%w: no parameter holds the address of the server (%s)", driver.ErrConfig, strings.Join(keys, ", "))
}

// hostPort returns the host:port in a URL, or value itself if it is one.
func hostPort(value string) string {
	if _, rest, ok := strings.Cut(value, "://"); ok {
		value, _, _ = strings.Cut(rest, "/")
	}
	return value[strings.LastIndexByte(value, '@')+1:]
}

// through returns the parameters of a node that reaches the server by address.
func (s server) through(address string) map[string]string {
	params := maps.Clone(s.params)
	if s.address != "" {
		params[s.key] = strings.Replace(params[s.key], s.address, address, 1)
	}
	return params
}

// patience is how long one exchange with the server may take.
const patience = 10 * time.Second

// probe opens a driver in its own cluster, and closes it.
func probe(ctx context.Context, open driver.OpenFunc, params map[string]string) (driver.Caps, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d, err := open(ctx, options("conf-probe-"+rand.Text(), params))
	if err != nil {
		return driver.Caps{}, err
	}
	caps := d.Caps()
	_ = d.Close(ctx) // it has sent nothing that could be lost
	return caps, nil
}

func options(cluster string, params map[string]string) driver.Options {
	return driver.Options{
		Cluster: cluster, Self: driver.Member{Name: "stranger", Instance: rand.Text()}, Params: params,
		MaxBytes: 256 << 20, Logger: slog.New(slog.DiscardHandler),
	}
}

// stranger sends frames as a program that can reach the server but is no
// member.
type stranger struct {
	open   driver.OpenFunc
	params map[string]string
}

func (s stranger) inject(t testing.TB, _ conformance.Server, cluster string, frame []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d, err := s.open(ctx, options(cluster, s.params))
	if err != nil {
		t.Errorf("inject into %q: %v", cluster, err)
		return
	}
	defer func() { _ = d.Close(ctx) }() // the frame was sent
	if err := d.Broadcast(ctx, frame); err != nil && !errors.Is(err, driver.ErrTooLarge) {
		t.Errorf("inject %d bytes into %q: %v", len(frame), cluster, err)
	}
}
