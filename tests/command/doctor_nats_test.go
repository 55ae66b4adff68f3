package command_test

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
)

// TestDoctorNATSTLS examines servers whose greeting comes before the handshake,
// and whose certificates are sound, expired, and of an unknown authority.
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
	certificates(t, trust, start)
}
