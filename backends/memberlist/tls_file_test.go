package memberlist

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/testca"
)

// writePair writes a certificate for names, its key and the authority into dir.
func writePair(t *testing.T, dir string, names ...string) *testca.Authority {
	t.Helper()
	ca := testca.New(t)
	cert, key := ca.Issue(t, names...)
	for name, content := range map[string][]byte{"cert.pem": cert, "key.pem": key, "ca.pem": ca.PEM, "none.pem": []byte("no certificate")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return ca
}

// readConfigs reads text as the file of --cluster.tls-config in dir.
func readConfigs(t *testing.T, dir, text string) (server, client *tls.Config, err error) {
	t.Helper()
	path := filepath.Join(dir, "tls.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := readTLSFile(path)
	if err != nil {
		return nil, nil, err
	}
	return f.configs()
}

const tlsPairLines = "  cert_file: cert.pem\n  key_file: key.pem\n"

func TestTLSFileRefused(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "a")
	server := "tls_server_config:\n" + tlsPairLines
	for text, says := range map[string]string{
		"":                              "has no tls_server_config",
		"tls_client_config: {}\n":       "has no tls_server_config",
		server + "tls_client_config:\n": "has no tls_client_config",
		server + "  colour: red\n":      "colour",
		server + "tls_client: {}\n":     "tls_client",
		server + server:                 "already defined",
		"tls_server_config: {}\n":       "cert_file and key_file are missing",
		"tls_server_config:\n  cert_file: cert.pem\n":                                  "key_file is missing",
		"tls_server_config:\n  key_file: key.pem\n":                                    "cert_file is missing",
		"tls_server_config:\n  cert_file: ca.pem\n  key_file: key.pem\n":               "are no pair",
		"tls_server_config:\n  cert_file: absent.pem\n  key_file: key.pem\n":           "absent.pem",
		"tls_server_config:\n  cert: s3cret\n  key: s3cret\n":                          "cert and key are no pair",
		server + "  client_ca_file: ca.pem\n":                                          "client_auth_type",
		server + "  client_ca_file: none.pem\n  client_auth_type: RequestClientCert\n": "none.pem holds no certificate",
		server + "  client_auth_type: Perhaps\n":                                       `"Perhaps" is unknown`,
		server + "  min_version: TLS9\n":                                               `"TLS9" is no version of TLS`,
		server + "  cipher_suites: [ROT13]\n":                                          `"ROT13" is no cipher suite`,
		server + "  curve_preferences: [P1]\n":                                         `"P1" is no curve`,
		server + "tls_client_config:\n  ca_file: none.pem\n":                           "none.pem holds no certificate",
		server + "tls_client_config:\n  ca_file: ca.pem\n  ca: text\n":                 "ca and ca_file are both given",
		server + "tls_client_config:\n  cert_file: cert.pem\n":                         "key_file is missing",
		server + "tls_client_config:\n  cert: s3cret\n" + tlsPairLines:                 "cert and cert_file are both given",
		server + "tls_client_config:\n  key: s3cret\n" + tlsPairLines:                  "key and key_file are both given",
		server + "tls_client_config:\n  ca_ref: vault\n":                               "ca_ref",
		server + "tls_client_config:\n  min_version: TLS13\n  max_version: TLS12\n":    "max_version is below min_version",
	} {
		_, _, err := readConfigs(t, dir, text)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, want an error that says %q and shows no secret", text, err, says)
		}
	}
}

func TestTLSFileIsUsed(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "gossip.test")
	server, client, err := readConfigs(t, dir, `tls_server_config:
`+tlsPairLines+`  client_ca_file: ca.pem
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [gossip.test]
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
  curve_preferences: [X25519, CurveP256]
  min_version: TLS12
  max_version: TLS13
  prefer_server_cipher_suites: true
tls_client_config:
  server_name: gossip.test
  insecure_skip_verify: true
  ca_file: ca.pem
  max_version: TLS12
`+tlsPairLines)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case server.ClientAuth != tls.RequireAndVerifyClientCert, server.ClientCAs == nil, server.VerifyPeerCertificate == nil,
		server.MinVersion != tls.VersionTLS12, server.MaxVersion != tls.VersionTLS13, len(server.CipherSuites) != 1,
		len(server.CurvePreferences) != 2, server.CurvePreferences[0] != tls.X25519:
		t.Errorf("the server is set to %+v", server)
	case client.ServerName != "gossip.test", !client.InsecureSkipVerify, client.RootCAs == nil,
		client.MaxVersion != tls.VersionTLS12, client.GetClientCertificate == nil:
		t.Errorf("the client is set to %+v", client)
	}
}

func TestTLSPairIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "old.test")
	server, _, err := readConfigs(t, dir, "tls_server_config:\n"+tlsPairLines)
	if err != nil {
		t.Fatal(err)
	}
	writePair(t, dir, "new.test")
	pair, err := server.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err := x509.ParseCertificate(pair.Certificate[0]); err != nil || leaf.DNSNames[0] != "new.test" {
		t.Errorf("%v, the certificate is for %q", err, leaf.DNSNames)
	}
}

func TestAllowedSANs(t *testing.T) {
	cert, _ := testca.New(t).Issue(t, "a.test")
	block, _ := pem.Decode(cert)
	for san, want := range map[string]bool{"a.test": true, "127.0.0.1": true, "b.test": false} {
		s := tlsServer{SANs: []string{san}}
		if err := s.allowed([][]byte{block.Bytes}, nil); (err == nil) != want {
			t.Errorf("%s: %v", san, err)
		}
	}
	if (&tlsServer{}).allowed(nil, nil) == nil {
		t.Error("a client without a certificate is let in")
	}
}
