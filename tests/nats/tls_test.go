package nats_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// filesOf returns the files of a server and of a client that a signs, as names
// and contents in turn.
func filesOf(t testing.TB, a *testca.Authority) []string {
	t.Helper()
	server, serverKey := a.Issue(t, "nats.test")
	client, clientKey := a.Issue(t)
	return []string{
		"ca.pem", string(a.PEM), "server.pem", string(server), "server.key", string(serverKey), "client.pem", string(client), "client.key", string(clientKey),
	}
}

const (
	encrypted = base + `tls { cert_file: "{dir}/server.pem", key_file: "{dir}/server.key", ca_file: "{dir}/ca.pem" }`
	mutual    = base + `tls { cert_file: "{dir}/server.pem", key_file: "{dir}/server.key", ca_file: "{dir}/ca.pem", verify: true }`
)

// clientOf returns parameters with all that a server of the configuration mutual
// asks for.
func clientOf(s *local) map[string]string {
	return s.at("tls", "true", "tls_ca_file", s.path("ca.pem"), "tls_cert_file", s.path("client.pem"), "tls_key_file", s.path("client.key"))
}

// TestTLSWithClientCertificates, and with new ones of a new authority while the
// nodes run.
func TestTLSWithClientCertificates(t *testing.T) {
	t.Parallel()
	s := startLocal(t, mutual, filesOf(t, testca.New(t))...)
	a, b := open(t, "a", clientOf(s)), open(t, "b", clientOf(s))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	a.write(t, "before")
	testkit.Eventually(t, 20*time.Second, func() error { return hold(1, a, b) })

	s.Stop(t)
	next := filesOf(t, testca.New(t))
	for i := 0; i < len(next); i += 2 {
		s.write(t, next[i], next[i+1])
	}
	s.Start(t)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	b.write(t, "after")
	testkit.Eventually(t, 20*time.Second, func() error { return hold(2, a, b) })
}

// TestTLSRotationSaysWhatIsWrong: a node that has not got the new certificates
// yet says why it is detached.
func TestTLSRotationSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := startLocal(t, encrypted, filesOf(t, testca.New(t))...)
	ca := file(t, read(t, s.path("ca.pem")))
	a := open(t, "a", s.at("tls", "true", "tls_ca_file", ca))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a) })
	s.Stop(t)
	next := filesOf(t, testca.New(t))
	for i := 0; i < len(next); i += 2 {
		s.write(t, next[i], next[i+1])
	}
	s.Start(t)
	testkit.Eventually(t, 20*time.Second, func() error { return detachedSaying(a, "certificate") })
	rewrite(t, ca, read(t, s.path("ca.pem")))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a) })
}

// TestTLSRefused: what does not fit is a clear error, or a clear state.
func TestTLSRefused(t *testing.T) {
	t.Parallel()
	files := filesOf(t, testca.New(t))
	other := file(t, string(testca.New(t).PEM))
	open1, opaque, strict := startLocal(t, base), startLocal(t, encrypted, files...), startLocal(t, mutual, files...)
	ca := opaque.path("ca.pem")
	for name, c := range map[string]struct {
		params map[string]string
		key    string // of an ErrConfig
		text   string
	}{
		"a server that does not encrypt": {open1.at("tls", "true"), "tls", "does not encrypt"},
		"another authority":              {opaque.at("tls", "true", "tls_ca_file", other), "tls_ca_file", "unknown authority"},
		"the system's authorities":       {opaque.at(), "tls", "unknown authority"},
		"another name":                   {opaque.at("tls", "true", "tls_ca_file", ca, "tls_server_name", "other.test"), "tls_ca_file", "other.test"},
		"no client certificate":          {strict.at("tls", "true", "tls_ca_file", ca), "", "certificate required"},
	} {
		n, err := tryOpen(t, "a", c.params)
		if c.key == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			testkit.Eventually(t, 20*time.Second, func() error { return detachedSaying(n, c.text) })
			continue
		}
		if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), c.key+":") || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want ErrConfig that names %s and says %q", name, err, c.key, c.text)
		}
	}
	for name, params := range map[string]map[string]string{
		"skip_verify":      opaque.at("tls", "true", "tls_skip_verify", "true"),
		"server_name":      opaque.at("tls", "true", "tls_ca_file", ca, "tls_server_name", "nats.test"),
		"TLS 1.3":          opaque.at("tls", "true", "tls_ca_file", ca, "tls_min_version", "1.3"),
		"tls false at all": open1.at("tls", "false", "tls_skip_verify", "false"),
	} {
		n := open(t, "a", params)
		testkit.Eventually(t, 20*time.Second, func() error {
			if err := agree(n); err != nil {
				return errors.Join(errors.New(name), err)
			}
			return nil
		})
		n.close(t)
	}
}
