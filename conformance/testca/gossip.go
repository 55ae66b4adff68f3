package testca

import (
	"os"
	"path/filepath"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// GossipFile writes into dir a pair, the authority that signed it, and the file
// with which Alertmanager's gossip uses them at both ends. It returns the path
// of that file.
func GossipFile(t testkit.TB, dir string) string {
	t.Helper()
	ca := New(t)
	cert, key := ca.Issue(t, "gossip.test")
	for name, content := range map[string][]byte{
		"ca.pem": ca.PEM, "cert.pem": cert, "key.pem": key,
		"tls.yml": []byte(`tls_server_config:
  cert_file: cert.pem
  key_file: key.pem
  client_ca_file: ca.pem
  client_auth_type: RequireAndVerifyClientCert
tls_client_config:
  ca_file: ca.pem
  cert_file: cert.pem
  key_file: key.pem
  server_name: gossip.test
`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatalf("%v", err)
		}
	}
	return filepath.Join(dir, "tls.yml")
}
