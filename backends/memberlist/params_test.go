package memberlist

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func TestBadParams(t *testing.T) {
	noTLS := filepath.Join(t.TempDir(), "tls.yml")
	if err := os.WriteFile(noTLS, []byte("tls_client_config: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, value, says string }{
		{"listen_adress", "127.0.0.1:0", "listen_address"},
		{"listen_address", "nowhere.invalid:9094", "nowhere.invalid"},
		{"listen_address", "127.0.0.1:http", "0 to 65535"},
		{"listen_address", "127.0.0.1:65536", "0 to 65535"},
		{"listen_address", "127.0.0.1", "an address and a port"},
		{"listen_address", "192.0.2.1:9094", "cannot be used on this host"},
		{"advertise_address", "0.0.0.0", "unspecified"},
		{"advertise_address", "eth99", "interface eth99: there is none; this host has"},
		{"advertise_address", "10.0.0.1:99999", "port"},
		{"peers", "b", "host:port"},
		{"peers", "b:9094,:9094", "host:port"},
		{"peers", "b:0", "host:port"},
		{"label", strings.Repeat("x", 256), "255"},
		{"probe_interval", "0s", "too short"},
		{"gossip_interval", "200", "unit"},
		{"direct_limit", "-1", "negative"},
		{"encryption_keys", "s3cret", "base64"},
		{"encryption_keys", base64.StdEncoding.EncodeToString([]byte("s3cret")), "16, 24 or 32"},
		{"encryption_verify_incoming", "perhaps", "true nor false"},
		{"tls_config_file", "/does/not/exist", "no such file"},
		{"tls_config_file", noTLS, "tls_server_config"},
	} {
		_, err := tryStart(t, spec{name: "a", cluster: "c", listen: "127.0.0.1:0", hooks: hooks{resolve: noNames}, params: map[string]string{c.key: c.value}})
		if !errors.Is(err, driver.ErrConfig) {
			t.Errorf("%s = %q: %v, want ErrConfig", c.key, c.value, err)
			continue
		}
		for _, text := range []string{c.key, c.says} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s = %q: %v, want it to say %q", c.key, c.value, err, text)
			}
		}
		if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "czNjcmV0") {
			t.Errorf("%s: the error shows a secret: %v", c.key, err)
		}
	}
}

func noNames(_ context.Context, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// An address to listen on may be none, a name, or an interface.
func TestListenForms(t *testing.T) {
	local := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	for form, want := range map[string]string{":0": "0.0.0.0", "localhost:0": "127.0.0.1", "lo:0": "127.0.0.1", "[127.0.0.1]:0": "127.0.0.1", "127.0.0.1:0": "127.0.0.1"} {
		n := start(t, spec{name: "a", cluster: "c", listen: form, hooks: hooks{resolve: local}})
		if got := n.mesh.settings.listen; got.Addr().String() != want || got.Port() == 0 {
			t.Errorf("listen_address %q listens on %v, want a port of %s", form, got, want)
		}
	}
}

func TestBusyPort(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c"})
	_, err := tryStart(t, spec{name: "b", cluster: "c", listen: a.addr})
	if !errors.Is(err, driver.ErrConfig) || !strings.Contains(err.Error(), "listen_address: another process listens on "+a.addr) {
		t.Errorf("open on a busy port: %v, want ErrConfig that names the address", err)
	}
}

// An address that this host does not have may be a router's in front of it, or
// a mistake.
func TestAdvertiseAnAddressOfAnother(t *testing.T) {
	for address, warned := range map[string]bool{"203.0.113.7": true, "127.0.0.1": false, "lo": false} {
		n := start(t, spec{name: "a", cluster: "c", params: map[string]string{"advertise_address": address}})
		if got := strings.Contains(n.logs.String(), "advertise_address is no address of this host"); got != warned {
			t.Errorf("advertise_address %s: warned %v, want %v:\n%s", address, got, warned, n.logs)
		}
	}
}

func TestAdvertise(t *testing.T) {
	resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "node.test":
			return []netip.Addr{netip.MustParseAddr("fd00::7"), netip.MustParseAddr("10.0.0.7")}, nil
		case "six.test":
			return []netip.Addr{netip.MustParseAddr("fd00::7")}, nil
		}
		return noNames(t.Context(), host)
	}
	logger := newLogger(discard()).Writer().(*logWriter).to
	for _, c := range []struct{ configured, listen, want string }{
		{"", "10.1.1.1:9094", "10.1.1.1:9094"},
		{"", "[fd00::1]:9094", "[fd00::1]:9094"},
		{"10.0.0.1", "0.0.0.0:9094", "10.0.0.1:9094"},
		{"10.0.0.1:1234", "0.0.0.0:9094", "10.0.0.1:1234"},
		{"fd00::5", "[::]:9094", "[fd00::5]:9094"},
		{"[fd00::5]", "[::]:9094", "[fd00::5]:9094"},
		{"[fd00::5]:1234", "[::]:9094", "[fd00::5]:1234"},
		{"node.test", "0.0.0.0:9094", "10.0.0.7:9094"},
		{"node.test:1234", "0.0.0.0:9094", "10.0.0.7:1234"},
		{"six.test", "[::]:9094", "[fd00::7]:9094"},
		{"lo", "127.0.0.1:9094", "127.0.0.1:9094"},
		{"lo:1234", "127.0.0.1:9094", "127.0.0.1:1234"},
	} {
		got, err := advertised(t.Context(), c.configured, netip.MustParseAddrPort(c.listen), resolve, logger)
		if err != nil || got.String() != c.want {
			t.Errorf("advertise_address %q, listening on %s: %v, %v, want %s", c.configured, c.listen, got, err, c.want)
		}
	}
	// A name server that does not answer is no bad configuration.
	_, err := advertised(t.Context(), "node.test", netip.MustParseAddrPort("0.0.0.0:9094"), func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "timeout", IsTimeout: true}
	}, logger)
	if !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("a name server that does not answer: %v, want ErrUnavailable", err)
	}
	// An unspecified address is never told.
	got, err := advertised(t.Context(), "", netip.MustParseAddrPort("0.0.0.0:9094"), noNames, logger)
	if err != nil || got.Addr().IsUnspecified() {
		t.Errorf("nothing configured: %v, %v", got, err)
	}
}
