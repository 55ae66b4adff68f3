package etcd_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// secured is an etcd that wants TLS, and a certificate of its clients.
type secured struct {
	*servers.Server
	params map[string]string // that are right, but for the endpoints
}

func newSecured(t testing.TB) *secured {
	t.Helper()
	ca := testca.New(t)
	serverCert, serverKey := ca.Issue(t, "localhost", "etcd.test")
	clientCert, clientKey := ca.Issue(t)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := &secured{params: map[string]string{
		"tls": "true", "tls_ca_file": write("ca.pem", ca.PEM),
		"tls_cert_file": write("client.pem", clientCert), "tls_key_file": write("client.key", clientKey),
	}}
	pair, err := tls.X509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	trust := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	s.Server = servers.Start(t, servers.Etcd(), servers.Options{
		Args: []string{
			"--listen-client-urls", "https://{host}:{port}", "--advertise-client-urls", "https://{host}:{port}",
			"--cert-file", "{dir}/server.pem", "--key-file", "{dir}/server.key", "--client-cert-auth", "--trusted-ca-file", "{dir}/ca.pem",
		},
		Files: map[string][]byte{"server.pem": serverCert, "server.key": serverKey, "ca.pem": ca.PEM},
		Ready: func(ctx context.Context, addr string) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, TLS: trust, Context: ctx, Logger: zap.NewNop()})
			if err != nil {
				return err
			}
			defer client.Close() //nolint:errcheck // it was for one question
			_, err = client.Get(ctx, "x")
			return err
		},
	})
	return s
}

// with are the right parameters, changed: an empty value leaves a key out.
func (s *secured) with(changes map[string]string) map[string]string {
	p := maps.Clone(s.params)
	p["endpoints"] = s.Addr()
	maps.Copy(p, changes)
	maps.DeleteFunc(p, func(_, value string) bool { return value == "" })
	return p
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	nodes := []*node{
		open(t, "a", s.with(nil)),
		open(t, "b", s.with(map[string]string{"endpoints": "https://localhost:" + port, "tls_min_version": "1.3"})),
		open(t, "c", s.with(map[string]string{"tls_server_name": "etcd.test"})),
		open(t, "d", s.with(map[string]string{"tls_ca_file": "", "tls_skip_verify": "true"})),
	}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	talk(t, "in secret", nodes...)

	other := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(other, testca.New(t).PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		params map[string]string
		refuse error
		says   string
	}{
		"another authority": {map[string]string{"tls_ca_file": other}, backend.ErrConfig, "tls_ca_file"},
		"another name":      {map[string]string{"tls_server_name": "other.test"}, backend.ErrConfig, "tls_server_name"},
		"no certificate":    {map[string]string{"tls_cert_file": "", "tls_key_file": ""}, nil, "tls_cert_file"},
		"no tls": {map[string]string{
			"tls": "false", "tls_ca_file": "", "tls_cert_file": "", "tls_key_file": "",
		}, nil, "wants tls"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := tryOpen("a", s.with(c.params))
			if err == nil {
				defer n.close(t)
			}
			if c.refuse != nil {
				if !errors.Is(err, c.refuse) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %v with %q", err, c.refuse, c.says)
				}
				return
			}
			if err != nil {
				// That a server wants a certificate may arrive before its hanging up, or after.
				if !strings.Contains(err.Error(), c.says) {
					t.Error(err)
				}
				return
			}
			testkit.Eventually(t, 20*time.Second, func() error { return n.detached(c.says) })
		})
	}
	t.Run("tls to one without", func(t *testing.T) {
		plain := start(t)
		n := open(t, "a", s.with(map[string]string{"endpoints": plain.Addr()}))
		testkit.Eventually(t, 20*time.Second, func() error { return n.detached("does not speak TLS") })
	})
}

// TestRotation replaces the authority and the own certificate in their files, by
// what does not fit and back. Each connection reads them again.
func TestRotation(t *testing.T) {
	s := newSecured(t)
	p := proxy(t, s.Addr)
	n := open(t, "a", s.with(map[string]string{"endpoints": p.Addr()}))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })
	other := testca.New(t)
	cert, key := other.Issue(t)
	for name, c := range map[string]struct {
		replace map[string][]byte // by key of the parameters
		says    string
	}{
		"authority":   {map[string][]byte{"tls_ca_file": other.PEM}, "tls_ca_file"},
		"certificate": {map[string][]byte{"tls_cert_file": cert, "tls_key_file": key}, "tls_cert_file"},
	} {
		t.Run(name, func(t *testing.T) {
			write := func(files map[string][]byte) {
				for param, content := range files {
					if err := os.WriteFile(s.params[param], content, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				p.Set(netfault.Refuse)
				p.Set(netfault.Pass)
			}
			before := map[string][]byte{}
			for param := range c.replace {
				content, err := os.ReadFile(s.params[param])
				if err != nil {
					t.Fatal(err)
				}
				before[param] = content
			}
			write(c.replace)
			testkit.Eventually(t, 20*time.Second, func() error { return n.detached(c.says) })
			write(before)
			testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })
		})
	}
}
