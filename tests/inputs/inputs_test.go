// Package inputs_test gives each backend with a server what users get wrong: in
// addresses, names and certificates.
package inputs_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/etcd"
	_ "github.com/clusterchannel/clusterchannel/backends/nats"
	_ "github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// subject is a backend with a server.
type subject struct {
	backend string
	more    map[string]string // parameters
	key     string            // of the addresses
	scheme  string            // of a URL that people take from another client
	program string
	args    func(host, port, data string) []string
	greet   string // what a server says before TLS begins
}

var subjects = map[string]subject{
	"redis":                   redis(nil),
	"redis on Grafana's wire": redis(map[string]string{"wire": "grafana"}),
	"etcd": {"etcd", nil, "endpoints", "http", "etcd", func(host, port, data string) []string {
		url := "http://" + net.JoinHostPort(host, port)
		return []string{
			"--data-dir", data + "/etcd", "--listen-client-urls", url, "--advertise-client-urls", url, "--log-level", "error",
			"--listen-peer-urls", "http://127.0.0.1:0",
		}
	}, ""},
	"nats": {"nats", nil, "servers", "nats", "nats-server", func(host, port, _ string) []string {
		return []string{"--addr", host, "--port", port}
	}, "INFO {\"server_id\":\"x\",\"version\":\"2.15.0\",\"max_payload\":1048576,\"tls_required\":true}\r\n"},
}

func redis(more map[string]string) subject {
	return subject{"redis", more, "address", "redis", "redis-server", func(host, port, data string) []string {
		return []string{"--bind", host, "--port", port, "--dir", data, "--save", ""}
	}, ""}
}

// at returns parameters for an address.
func (s subject) at(address string) map[string]string {
	p := map[string]string{s.key: address}
	maps.Copy(p, s.more)
	return p
}

// run runs a server of this machine at host and port.
func (s subject) run(t *testing.T, host, port string) *process.Server {
	t.Helper()
	data := t.TempDir()
	return process.Start(t, process.Spec{
		Path: process.Need(t, s.program), Args: s.args(host, port, data), Addr: net.JoinHostPort(host, port), Data: t.TempDir(),
		Ready: func(ctx context.Context, addr string) error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				err = conn.Close()
			}
			return err
		},
	})
}

// open opens a node that ends with the test, if it can be opened.
func open(t *testing.T, s subject, params map[string]string, policy backend.StartPolicy) (backend.ClusterChannel, error) {
	t.Helper()
	channel, err := backend.Open(t.Context(), backend.Config{
		Backend: s.backend, Cluster: t.Name(), Name: "a", Params: params, OnStartFailure: policy, Logger: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := channel.Close(ctx); err != nil {
				t.Log(err)
			}
		})
	}
	return channel, err
}

// refused checks that such parameters are bad configuration at once, and that the
// error names the key and shows no secret.
func refused(t *testing.T, s subject, key string, params map[string]string, texts ...string) {
	t.Helper()
	began := time.Now()
	_, err := open(t, s, params, backend.Degrade)
	if !errors.Is(err, backend.ErrConfig) {
		t.Errorf("%s: %v: %v, want ErrConfig", s.backend, params, err)
		return
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("%s: %v: the error took %v", s.backend, params, took)
	}
	for _, text := range append(texts, key+":") {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v: %v, want it to say %q", s.backend, params, err, text)
		}
	}
	if strings.Contains(err.Error(), conformance.Secret) {
		t.Errorf("%s: a secret is shown: %v", s.backend, err)
	}
}

// attached waits until the channel is.
func attached(t *testing.T, channel backend.ClusterChannel) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() error {
		if v := channel.View(); v.Status != backend.Attached {
			return fmt.Errorf("it is %v: %v", v.Status, v.Err)
		}
		return nil
	})
}

// TestBadAddresses are refused before anybody is asked.
func TestBadAddresses(t *testing.T) {
	for _, s := range subjects {
		for _, address := range []string{
			s.scheme + "://me:" + conformance.Secret + "@127.0.0.1:1", "me:" + conformance.Secret + "@127.0.0.1:1", "127.0.0.1:1," + conformance.Secret + "@127.0.0.2:1",
			"ftp://me:" + conformance.Secret + "@127.0.0.1:1", s.scheme + "s://me:" + conformance.Secret + "@127.0.0.1:1",
			"127.0.0.1:1,ftp://127.0.0.2:1", "127.0.0.1:1,unix:///run/server.sock", "127.0.0.1:1,/run/server.sock", "127.0.0.1:1,127.0.0.2:1/0",
			"127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http", "127.0.0.1:", ":1", "127.0.0.1:1:1", "",
			"::1", "fd00::1:6379", "[::1", "::1]:1", "[::1]1", "[]:1", "[127.0.0.1:1", "127.0.0.1 :1", "127.0.0.1:1?password=" + conformance.Secret,
		} {
			refused(t, s, s.key, s.at(address))
		}
	}
}

// TestIPv6 opens nodes at each form of an address that is one.
func TestIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6: ", err)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, s := range subjects {
		t.Run(name, func(t *testing.T) {
			port := fmt.Sprint(process.Port(t))
			s.run(t, "::1", port)
			for _, address := range []string{"[::1]:" + port, "[0:0:0:0:0:0:0:1]:" + port, "[::1%lo]:" + port} {
				channel, err := open(t, s, s.at(address), backend.Fail)
				if err != nil {
					t.Errorf("%s: %v", address, err)
					continue
				}
				attached(t, channel)
			}
			channel, err := backend.OpenURL(t.Context(), s.backend+"://[::1]:"+port+"?cluster=c")
			if err != nil {
				t.Fatal(err)
			}
			attached(t, channel)
			if err := channel.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNames gives a node a name that resolves to nothing, to a server and to hosts
// without one, and then to another server.
func TestNames(t *testing.T) {
	dns := newNames(t)
	for name, s := range subjects {
		t.Run(name, func(t *testing.T) {
			host := strings.Map(func(r rune) rune {
				if r < 'a' || r > 'z' {
					return '-'
				}
				return r
			}, name) + ".test"
			port := fmt.Sprint(process.Port(t))
			params := s.at(host + ":" + port)
			_, err := open(t, s, params, backend.Fail)
			if !errors.Is(err, backend.ErrUnavailable) || errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), s.key) || !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), "no such host") {
				t.Errorf("a name without addresses: %v, want ErrUnavailable that says so", err)
			}
			channel, err := open(t, s, params, backend.Degrade)
			if err != nil {
				t.Fatal(err)
			}
			if v := channel.View(); v.Status != backend.Detached {
				t.Errorf("it is %v without a server", v.Status)
			}
			first := s.run(t, "127.0.0.1", port)
			dns.set(host, "127.0.0.3", "127.0.0.1", "127.0.0.4")
			attached(t, channel)

			dns.set(host, "127.0.0.2")
			s.run(t, "127.0.0.2", port)
			before := channel.View().Since
			first.Kill(t)
			testkit.Eventually(t, 20*time.Second, func() error {
				if v := channel.View(); v.Status != backend.Attached || !v.Since.After(before) {
					return fmt.Errorf("it is %v since %v: %v", v.Status, v.Since, v.Err)
				}
				return nil
			})
		})
	}
}

// TestCertificates gives nodes pairs that cannot be used, and servers whose
// certificate cannot be trusted.
func TestCertificates(t *testing.T) {
	ca := testca.New(t)
	dir := t.TempDir()
	put := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := put("ca.pem", ca.PEM)
	pair := func(name string, until time.Time, names ...string) (cert, key string) {
		c, k := ca.IssueUntil(t, until, names...)
		return put(name+".pem", c), put(name+".key", k)
	}
	good, goodKey := pair("good", time.Now().Add(time.Hour))
	_, otherKey := pair("other", time.Now().Add(time.Hour))
	old, oldKey := pair("old", time.Now().Add(-time.Minute))
	for name, s := range subjects {
		t.Run(name, func(t *testing.T) {
			with := func(addr string, more map[string]string) map[string]string {
				p := s.at(addr)
				p["tls"], p["tls_ca_file"] = "true", authority
				maps.Copy(p, more)
				return p
			}
			nobody := "127.0.0.1:1"
			refused(t, s, "tls_key_file", with(nobody, map[string]string{"tls_cert_file": good}), "give both")
			refused(t, s, "tls_cert_file", with(nobody, map[string]string{"tls_key_file": goodKey}), "give both")
			refused(t, s, "tls_cert_file", with(nobody, map[string]string{"tls_cert_file": good, "tls_key_file": otherKey}), "tls_key_file")
			refused(t, s, "tls_cert_file", with(secure(t, s, good, goodKey), map[string]string{"tls_cert_file": old, "tls_key_file": oldKey}), "old.pem has expired")

			refused(t, s, "tls_ca_file", with(secure(t, s, old, oldKey), nil), "expired")
			refused(t, s, "tls_ca_file", with(secure(t, s, good, goodKey), map[string]string{"tls_server_name": "another.test"}), "another.test")
		})
	}
}

// secure listens with a certificate, asks for one, and says nothing when the
// connection is encrypted.
func secure(t *testing.T, s subject, cert, key string) (addr string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close() //nolint:errcheck // it has ended
				if _, err := io.WriteString(conn, s.greet); err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2"}}))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}
