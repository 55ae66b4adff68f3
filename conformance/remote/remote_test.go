package remote_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNodesGoThroughTheSuitesProxy(t *testing.T) {
	for _, c := range []struct{ backend, key, value, address, through string }{
		{"recorded", "address", "127.0.0.1:6379", "127.0.0.1:6379", "127.0.0.1:1"},
		{"described", "servers", "nats://user:s3cret@10.0.0.1:4222/x", "10.0.0.1:4222", "nats://user:s3cret@127.0.0.1:1/x"},
		{"described", "address", "https://[::1]:2379", "[::1]:2379", "https://127.0.0.1:1"},
	} {
		record(t, func(params map[string]string) error { return nil })
		h, err := remote.Harness(t.Context(), c.backend, map[string]string{c.key: c.value, "other": "kept"})
		if err != nil {
			t.Fatal(err)
		}
		if h.Address != c.address {
			t.Errorf("%s: the address is %q, want %q", c.value, h.Address, c.address)
		}
		params := h.Params(t, conformance.Node{Server: "127.0.0.1:1"})
		if params[c.key] != c.through || params["other"] != "kept" {
			t.Errorf("%s: a node has %v, want %q", c.value, params, c.through)
		}
	}
}

func TestParametersThatCannotBeUsed(t *testing.T) {
	record(t, func(params map[string]string) error {
		if params["colour"] != "" {
			return errors.Join(backend.ErrConfig, errors.New("colour"))
		}
		return backend.ErrUnavailable
	})
	for name, c := range map[string]struct {
		backend string
		params  map[string]string
		want    error
		text    string
	}{
		"unknown backend": {"nope", nil, backend.ErrUnknownBackend, "memory"},
		"no address":      {"recorded", map[string]string{"colour": "red"}, backend.ErrConfig, "(address)"},
		"no servers":      {"described", map[string]string{"other": "x"}, backend.ErrConfig, "(servers, address)"},
		"several":         {"described", map[string]string{"servers": "a:1,b:2"}, backend.ErrConfig, "servers"},
		"no port":         {"recorded", map[string]string{"address": "redis://localhost"}, backend.ErrConfig, "host:port"},
		"refused":         {"recorded", map[string]string{"address": "localhost:1", "colour": "red"}, backend.ErrConfig, "colour"},
		"unreachable":     {"recorded", map[string]string{"address": "localhost:1"}, backend.ErrUnavailable, "unavailable"},
	} {
		_, err := remote.Harness(t.Context(), c.backend, c.params)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v that names %q", name, err, c.want, c.text)
		}
	}
}

func TestMemoryNeedsNoServer(t *testing.T) {
	h, err := remote.Harness(t.Context(), "memory", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := conformance.Execute(context.Background(), h, conformance.Options{Select: func(name string) bool {
		return name == "members/join" || name == "isolation/foreign-data" || name == "config/bad-params" || name == "fault/server-restart"
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Summary(), "4 checks: 3 passed, 0 waived, 1 not run"; got != want {
		t.Errorf("%s, want %s: %+v", got, want, r.Results)
	}
}
