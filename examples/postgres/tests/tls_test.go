package postgres_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	s := servers.Start(t, servers.Postgres(), servers.Options{Files: map[string][]byte{"server.crt": cert, "server.key": key}})
	useTLS(t, s)
	params := map[string]string{
		"address": s.Addr(), "password": servers.PostgresPassword, "sslmode": "verify-full", "sslrootcert": write(t, cert),
	}
	c, err := open(t, "encrypted", params)
	if err != nil {
		t.Fatal(err)
	}
	attached(t, c)
	var n int
	query(t, s.Addr(), &n, "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and application_name = $1", channel("encrypted"))
	if n != 2 {
		t.Errorf("%d encrypted connections, want 2", n)
	}

	other, _ := certificate(t)
	params["sslrootcert"] = write(t, other)
	if _, err := open(t, "deceived", params); !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), "x509") {
		t.Errorf("a server with a certificate of another authority: %v, want ErrUnavailable that tells x509", err)
	}
}

// useTLS makes a running server use the certificate in its files. PostgreSQL
// requires that nobody else can read the key.
func useTLS(t *testing.T, s *servers.Server) {
	t.Helper()
	const install = `cd {data}/postgres && cp {dir}/server.crt {dir}/server.key . && chmod 600 server.key &&
		if [ "$(id -u)" -eq 0 ]; then chown postgres: server.crt server.key; fi`
	s.Exec(t, "sh", "-c", install)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := dial(ctx, s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range []string{"alter system set ssl = on", "select pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for on := ""; on != "on"; {
		query(t, s.Addr(), &on, "select current_setting('ssl')")
		select {
		case <-retry.C:
		case <-ctx.Done():
			t.Fatalf("ssl is %q after %v", on, patience)
		}
	}
}

// certificate returns a self-signed one for 127.0.0.1, and its key.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "postgres"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
