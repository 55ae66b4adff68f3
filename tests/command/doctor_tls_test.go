package command_test

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
)

// encryptedRedis runs a server whose certificate is for that long, and returns the URL
// of a cluster there.
func encryptedRedis(t *testing.T, ca *testca.Authority, until time.Time, args ...string) string {
	t.Helper()
	cert, key := ca.IssueUntil(t, until)
	s := servers.Start(t, servers.Redis(), servers.Options{
		Files: map[string][]byte{"cert.pem": cert, "key.pem": key, "ca.pem": ca.PEM},
		Ready: func(ctx context.Context, addr string) error {
			conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}}).DialContext(ctx, "tcp", addr)
			if err == nil {
				err = conn.Close()
			}
			return err
		},
		Args: append([]string{
			"--port", "0", "--tls-port", "{port}", "--tls-cert-file", "{dir}/cert.pem", "--tls-key-file", "{dir}/key.pem",
			"--tls-ca-cert-file", "{dir}/ca.pem", "--tls-auth-clients", "no",
		}, args...),
	})
	return "rediss://" + s.Addr() + "?cluster=c"
}

func TestDoctorTLS(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	trust := "&tls_ca_file=" + file(t, "ca.pem", string(ca.PEM))
	long := encryptedRedis(t, ca, time.Now().Add(365*24*time.Hour))
	doctor(t, long+trust).has(t, "tls", "ok", "127.0.0.1", "until")
	doctor(t, encryptedRedis(t, ca, time.Now().Add(5*24*time.Hour))+trust).has(t, "tls", "warn", "expires soon")
	for _, s := range []sick{
		{"expired", []string{encryptedRedis(t, ca, time.Now().Add(-time.Minute)) + trust}, "tls", []string{"expired", "renew"}},
		{"unknown authority", []string{long}, "tls", []string{"tls_ca_file"}},
		{"another name", []string{long + trust + "&tls_server_name=elsewhere.test"}, "tls", []string{"elsewhere.test", "tls_server_name"}},
	} {
		s.test(t)
	}
}

// certificates shows the doctor a server with a sound certificate, one with an
// expired certificate, and the sound one to a node that does not trust its
// authority. serve starts a server whose certificate ends then, and returns its
// URL.
func certificates(t *testing.T, trust string, serve func(until time.Time) string) {
	t.Helper()
	sound := serve(time.Now().Add(365 * 24 * time.Hour))
	d := doctor(t, sound+trust)
	d.has(t, "tls", "ok", "127.0.0.1", "until")
	d.has(t, "delivery", "ok")
	for _, s := range []sick{
		{"expired", []string{serve(time.Now().Add(-time.Minute)) + trust}, "tls", []string{"expired", "renew"}},
		{"unknown authority", []string{sound + "&tls=true"}, "tls", []string{"tls_ca_file"}},
	} {
		s.test(t)
	}
}

// TestDoctorOldTLS examines a server that speaks TLS 1.1 at most, with a node
// that may use that, and one that may not.
func TestDoctorOldTLS(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	old := encryptedRedis(t, ca, time.Now().Add(365*24*time.Hour), "--tls-protocols", "TLSv1.1", "--tls-ciphers", "DEFAULT@SECLEVEL=0") +
		"&tls_ca_file=" + file(t, "ca.pem", string(ca.PEM))
	for _, wire := range []string{"native", "grafana"} {
		d := doctor(t, old+"&tls_min_version=1.0&wire="+wire)
		d.has(t, "tls", "ok", "TLS 1.1")
		d.has(t, "output buffer", "ok")
		d.has(t, "delivery", "ok")
	}
	sick{"too old", []string{old}, "tls", []string{"no version of TLS in common", "tls_min_version"}}.test(t)
}

// TestDoctorCipherSuite gives a node the only suites that it may use.
func TestDoctorCipherSuite(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	old := encryptedRedis(t, ca, time.Now().Add(365*24*time.Hour), "--tls-protocols", "TLSv1.2", "--tls-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384") +
		"&tls_ca_file=" + file(t, "ca.pem", string(ca.PEM)) + "&tls_cipher_suites="
	d := doctor(t, old+"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
	d.has(t, "tls", "ok", "TLS 1.2")
	d.has(t, "delivery", "ok")
	sick{"no suite in common", []string{old + "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}, "tls", []string{"cipher suites"}}.test(t)
}

// TestDoctorGossipTLS examines a peer with an expired certificate, and a node
// without TLS.
func TestDoctorGossipTLS(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	files := func(until time.Time) string {
		dir := t.TempDir()
		cert, key := ca.IssueUntil(t, until)
		writeFile(t, filepath.Join(dir, "cert.pem"), string(cert))
		writeFile(t, filepath.Join(dir, "key.pem"), string(key))
		writeFile(t, filepath.Join(dir, "ca.pem"), string(ca.PEM))
		writeFile(t, filepath.Join(dir, "tls.yml"), `tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert}
tls_client_config: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}
`)
		return filepath.Join(dir, "tls.yml")
	}
	year := time.Now().Add(365 * 24 * time.Hour)
	peer := func(conf string) string {
		return seat(t, backend.Config{
			Backend: "memberlist", Cluster: "c", Name: "resident", Params: map[string]string{"listen_address": "127.0.0.1:0", "tls_config_file": conf},
		}).View().Self().Addr
	}
	sound, expired, own := peer(files(year)), peer(files(time.Now().Add(-time.Minute))), "--cluster.tls-config="+files(year)
	args := func(peer string, more ...string) []string {
		return append(more, "--cluster.listen-address=127.0.0.1:0", "--cluster.label=c", "--cluster.peer="+peer)
	}
	d := doctor(t, args(sound, own)...)
	for _, name := range []string{"tls", "gossip", "packets over tls"} {
		d.has(t, name, "ok")
	}
	sick{"expired", args(expired, own), "tls", []string{"expired", "renew"}}.test(t)
	sick{"TLS on one side only", args(sound), "gossip", []string{"TLS"}}.test(t)
}

// TestDoctorOwnCertificateTLS: this node's own certificate is checked, whatever
// the other side says.
func TestDoctorOwnCertificateTLS(t *testing.T) {
	t.Parallel()
	ca, at := testca.New(t), silent(t)
	for _, c := range []struct {
		left   time.Duration
		status string
		words  []string
	}{
		{365 * 24 * time.Hour, "ok", []string{"until"}},
		{5 * 24 * time.Hour, "warn", []string{"expires soon", "renew"}},
		{-time.Minute, "fail", []string{"has expired", "renew"}},
	} {
		cert, key := ca.IssueUntil(t, time.Now().Add(c.left))
		dir := t.TempDir()
		certFile, keyFile, gossip := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "tls.yml")
		writeFile(t, certFile, string(cert))
		writeFile(t, keyFile, string(key))
		writeFile(t, gossip, "tls_server_config: &pair {cert_file: cert.pem, key_file: key.pem}\ntls_client_config: *pair\n")
		for _, args := range [][]string{
			{"rediss://" + at + "?cluster=c&tls_cert_file=" + certFile + "&tls_key_file=" + keyFile},
			{"--cluster.listen-address=127.0.0.1:0", "--cluster.label=c", "--cluster.peer=" + at, "--cluster.tls-config=" + gossip},
		} {
			doctor(t, append(args, "--timeout=500ms")...).has(t, "certificate", c.status, c.words...)
		}
	}
}

// TestDoctorOwnCertificateUnparsedTLS makes Go leave the parsing of the pair to
// the command.
func TestDoctorOwnCertificateUnparsedTLS(t *testing.T) {
	t.Parallel()
	cert, key := testca.New(t).Issue(t)
	p := runProgram(t, "env", "GODEBUG=x509keypairleaf=0", binary, "doctor", "--timeout=500ms",
		"rediss://"+silent(t)+"?cluster=c&tls_cert_file="+file(t, "cert.pem", string(cert))+"&tls_key_file="+file(t, "key.pem", string(key)))
	if code := p.exitCode(t, patience); code != 1 || !strings.Contains(p.stdout.String(), "expires soon") {
		t.Errorf("exit code %d, and no word of the certificate's end:\n%s", code, p.stdout.String())
	}
}
