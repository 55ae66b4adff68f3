package main_test

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/internal/testca"
)

// TestDoctorNATSTLS has servers whose greeting comes before the handshake, and whose
// certificates are sound, expired, and of an authority that is not known.
func TestDoctorNATSTLS(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	trust := "&tls=true&tls_ca_file=" + file(t, "ca.pem", string(ca.PEM))
	start := func(until time.Time) string {
		cert, key := ca.IssueUntil(t, until)
		s := servers.Start(t, servers.NATS(), servers.Options{
			Args:  []string{"--tls", "--tlscert", "{dir}/cert.pem", "--tlskey", "{dir}/key.pem"},
			Files: map[string][]byte{"cert.pem": cert, "key.pem": key},
			Ready: func(ctx context.Context, addr string) error {
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
				if err != nil {
					return err
				}
				defer conn.Close() //nolint:errcheck // the greeting counts
				_, err = bufio.NewReader(conn).ReadString('\n')
				return err
			},
		})
		return "nats://" + s.Addr() + "?cluster=c"
	}
	sound := start(time.Now().Add(365 * 24 * time.Hour))
	d := doctor(t, sound+trust)
	d.has(t, "tls", "ok", "127.0.0.1", "until")
	d.has(t, "delivery", "ok")
	for _, s := range []sick{
		{"expired", []string{start(time.Now().Add(-time.Minute)) + trust}, "tls", []string{"expired", "renew"}},
		{"unknown authority", []string{sound + "&tls=true"}, "tls", []string{"tls_ca_file"}},
	} {
		s.test(t)
	}
}
