package interop_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	amcluster "github.com/prometheus/alertmanager/cluster"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
)

// readAsAlertmanager reads a file as Alertmanager does.
func readAsAlertmanager(path string) error {
	c, err := amcluster.GetTLSTransportConfig(path)
	if err != nil {
		return err
	}
	_, server := web.ConfigToTLSConfig(c.TLSServerConfig)
	_, client := commonconfig.NewTLSConfig(c.TLSClientConfig)
	return errors.Join(server, client)
}

// TestTLSFilesAreAlertmanagers checks that the driver accepts and refuses the
// same files for --cluster.tls-config as Alertmanager.
func TestTLSFilesAreAlertmanagers(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile(testca.GossipFile(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	const pair = "  cert_file: cert.pem\n  key_file: key.pem\n"
	const server = "tls_server_config:\n" + pair
	for _, text := range []string{
		string(whole), server, server + "tls_client_config: {}\n", server + "tls_client_config:\n", "", "tls_server_config:\n",
		"tls_server_config: {}\n", "tls_server_config:\n  cert_file: cert.pem\n", "tls_server_config:\n  key_file: key.pem\n",
		"tls_server_config:\n  cert_file: key.pem\n  key_file: key.pem\n", server + "  cert: text\n  key: text\n", server + server,
		server + "  colour: red\n", server + "other: {}\n", server + "  prefer_server_cipher_suites: yes\n",
		server + "  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n",
		server + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n", server + "  curve_preferences: [CurveP521, X25519]\n",
		server + "  curve_preferences: [P521]\n", server + "  min_version: TLS10\n  max_version: TLS13\n", server + "  min_version: 1.2\n",
		server + "  client_auth_type: RequireClientCert\n", server + "  client_auth_type: require\n",
		server + "  client_auth_type: NoClientCert\n  client_ca_file: ca.pem\n",
		server + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n  client_allowed_sans: [a, b]\n",
		server + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: absent.pem\n",
		server + "tls_client_config:\n" + pair, server + "tls_client_config:\n  cert_file: cert.pem\n",
		server + "tls_client_config:\n  cert: text\n" + pair, server + "tls_client_config:\n  ca_file: cert.pem\n  server_name: x\n",
		server + "tls_client_config:\n  ca_file: key.pem\n", server + "tls_client_config:\n  ca: text\n  ca_file: ca.pem\n",
		server + "tls_client_config:\n  insecure_skip_verify: true\n  min_version: TLS12\n  max_version: TLS12\n",
		server + "tls_client_config:\n  min_version: TLS13\n  max_version: TLS12\n", server + "tls_client_config:\n  colour: red\n",
		server + "tls_client_config:\n  ca_ref: vault\n",
	} {
		path := filepath.Join(dir, "case.yml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		theirs := readAsAlertmanager(path)
		c, ours := backend.Open(t.Context(), backend.Config{Backend: "memberlist", Cluster: "mesh", Logger: discard(), Params: map[string]string{
			"listen_address": "127.0.0.1:0", "advertise_address": "127.0.0.1", "tls_config_file": path,
		}})
		if ours == nil {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if (ours == nil) != (theirs == nil) {
			t.Errorf("the driver says %v of, and Alertmanager %v:\n%s", ours, theirs, text)
		}
	}
}
