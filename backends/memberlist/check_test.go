package memberlist_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist"
	"github.com/clusterchannel/clusterchannel/conformance/remote"
)

// An address of another host is accepted: the configuration may be for that
// host.
func TestCheck(t *testing.T) {
	if err := backend.Check(backend.Config{Backend: "memberlist", Params: map[string]string{"listen_address": "192.0.2.1:9094"}}); err != nil {
		t.Error(err)
	}
	err := backend.Check(backend.Config{Backend: "memberlist", Params: map[string]string{"peers": "nowhere"}})
	if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v, want ErrConfig that says nowhere", err)
	}
}

func TestRemoteSuiteNeedsAServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // the driver listens there
		t.Fatal(err)
	}
	_, err = remote.Harness(t.Context(), "memberlist", map[string]string{"address": l.Addr().String()})
	if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), "has no server") {
		t.Errorf("%v, want ErrConfig that says that the backend has no server", err)
	}
}
