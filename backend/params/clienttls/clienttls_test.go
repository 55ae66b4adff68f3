package clienttls_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backend/params/clienttls"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
)

// block is what a backend has.
type block struct {
	clienttls.Params
	TLSMinVersion string `param:"tls_min_version" default:"1.2" oneof:"1.2,1.3"`
}

// parse does what a backend does.
func parse(raw map[string]string) (block, error) {
	var b block
	if err := params.Decode(raw, &b); err != nil {
		return b, err
	}
	return b, b.CheckTLS(raw)
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	absent, secret := filepath.Join(dir, "absent"), write(t, filepath.Join(dir, "secret"), []byte("s3cret"))
	for _, c := range []struct {
		raw   map[string]string
		texts []string
	}{
		{map[string]string{"tls_ca_file": absent}, []string{"tls_ca_file: ", "set tls to true"}},
		{map[string]string{"tls_cert_file": absent, "tls": "false"}, []string{"tls_cert_file: ", "set tls to true"}},
		{map[string]string{"tls_server_name": "n"}, []string{"tls_server_name: ", "set tls to true"}},
		{map[string]string{"tls_min_version": "1.2"}, []string{"tls_min_version: ", "set tls to true"}},
		{map[string]string{"tls_skip_verify": "true"}, []string{"tls_skip_verify: ", "set tls to true"}},
		{map[string]string{"tls": "true", "tls_ca_file": absent}, []string{"tls_ca_file: ", absent}},
		{map[string]string{"tls": "true", "tls_ca_file": secret}, []string{"tls_ca_file: ", secret, "no certificate in PEM"}},
		{map[string]string{"tls": "true", "tls_cert_file": secret}, []string{"tls_key_file: ", "tls_cert_file is given"}},
		{map[string]string{"tls": "true", "tls_key_file": secret}, []string{"tls_cert_file: ", "tls_key_file is given"}},
		{map[string]string{"tls": "true", "tls_cert_file": absent, "tls_key_file": secret}, []string{"tls_cert_file: ", "tls_key_file", absent}},
		{map[string]string{"tls": "true", "tls_cert_file": secret, "tls_key_file": secret}, []string{"tls_cert_file: ", "tls_key_file", "PEM"}},
	} {
		_, err := parse(c.raw)
		if !errors.Is(err, driver.ErrConfig) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: %v, want ErrConfig without what a file holds", c.raw, err)
			continue
		}
		for _, text := range c.texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v: %v, want it to say %q", c.raw, err, text)
			}
		}
	}
}

// TestWithoutTLS: what is given empty, or as its default, encrypts nothing.
func TestWithoutTLS(t *testing.T) {
	for _, raw := range []map[string]string{nil, {"tls": "false", "tls_ca_file": "", "tls_server_name": "", "tls_skip_verify": "0"}} {
		b, err := parse(raw)
		if err != nil {
			t.Errorf("%v: %v", raw, err)
		}
		if c, err := b.TLSConfig(b.TLSMinVersion); c != nil || err != nil {
			t.Errorf("%v: TLSConfig = %v, %v, want none", raw, c, err)
		}
	}
}

// lab is a TLS 1.2 server that wants a certificate of one of two authorities,
// and a client.
type lab struct {
	url      string
	one, two *testca.Authority // one is the server's
	raw      map[string]string // of the client, right as it is
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir := t.TempDir()
	l := &lab{one: testca.New(t), two: testca.New(t), raw: map[string]string{
		"tls": "true", "tls_ca_file": filepath.Join(dir, "ca"), "tls_cert_file": filepath.Join(dir, "cert"), "tls_key_file": filepath.Join(dir, "key"),
	}}
	write(t, l.raw["tls_ca_file"], l.one.PEM)
	l.issue(t, l.one)
	pair, err := tls.X509KeyPair(l.one.Issue(t, "server.test"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(l.one.PEM)
	trusted.AppendCertsFromPEM(l.two.PEM)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Issuer.String())
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted, MaxVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	l.url = s.URL
	return l
}

// issue replaces the client's pair by one that a signs.
func (l *lab) issue(t *testing.T, a *testca.Authority) {
	t.Helper()
	cert, key := a.Issue(t)
	write(t, l.raw["tls_cert_file"], cert)
	write(t, l.raw["tls_key_file"], key)
}

// client returns the client's configuration, with changes.
func (l *lab) client(t *testing.T, changes map[string]string) *tls.Config {
	t.Helper()
	raw := maps.Clone(l.raw)
	maps.Copy(raw, changes)
	b, err := parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.TLSConfig(b.TLSMinVersion)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask returns the name of the authority whose certificate c shows to the server.
func (l *lab) ask(c *tls.Config) (string, error) {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}
	r, err := client.Get(l.url)
	if err != nil {
		return "", err
	}
	name, err := io.ReadAll(r.Body)
	return string(name), errors.Join(err, r.Body.Close())
}

func TestHandshake(t *testing.T) {
	l := newLab(t)
	other := write(t, filepath.Join(t.TempDir(), "ca"), l.two.PEM)
	for _, c := range []struct {
		changes map[string]string
		text    string // of the error; empty where there is none
	}{
		{nil, ""},
		{map[string]string{"tls_server_name": "server.test"}, ""},
		{map[string]string{"tls_ca_file": other, "tls_skip_verify": "true"}, ""},
		{map[string]string{"tls_ca_file": other}, "unknown authority"},
		{map[string]string{"tls_ca_file": ""}, "unknown authority"},
		{map[string]string{"tls_server_name": "other.test"}, "other.test"},
		{map[string]string{"tls_min_version": "1.3"}, "version"},
		{map[string]string{"tls_cert_file": "", "tls_key_file": ""}, "remote error"},
	} {
		_, err := l.ask(l.client(t, c.changes))
		if (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v: %v, want %q", c.changes, err, c.text)
		}
	}
}

// TestReplacedFiles: a pair counts at the next handshake, authorities at the next
// call of TLSConfig.
func TestReplacedFiles(t *testing.T) {
	l := newLab(t)
	c := l.client(t, nil)
	before, err := l.ask(c)
	if err != nil {
		t.Fatal(err)
	}
	l.issue(t, l.two)
	after, err := l.ask(c)
	if err != nil || after == before {
		t.Errorf("with a new pair: signed by %q, %v, want another than %q", after, err, before)
	}
	write(t, l.raw["tls_ca_file"], l.two.PEM)
	if _, err := l.ask(l.client(t, nil)); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("with new authorities: %v, want that the server's is not known", err)
	}
}
