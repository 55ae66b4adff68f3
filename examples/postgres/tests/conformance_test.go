package postgres_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	_ "example.com/postgres"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Backend: "postgres",
		Server:  start,
		Params: func(_ testing.TB, n conformance.Node) map[string]string {
			return map[string]string{"address": n.Server, "password": servers.PostgresPassword}
		},
		Bad: map[string]map[string]string{
			"address":             {"address": "localhost:postgres"},
			"address of nothing":  {"address": ""},
			"sslmode":             {"sslmode": "perhaps"},
			"sslrootcert":         {"sslrootcert": "/absent"},
			"sslkey without cert": {"sslkey": "/dev/null"},
			"user":                {"user": "postgres", "password": conformance.Secret},
		},
		Inject:  inject,
		Residue: residue,
		// All checks share one database, in which every node reads what all send.
		Parallel: 2,
		// PostgreSQL needs seconds to recover from a crash.
		Timing: conformance.Timing{Detect: 2 * time.Second, Channel: backend.Timing{Heartbeat: 200 * time.Millisecond, Grace: 5 * time.Second}},
	})
}

func start(t testing.TB) conformance.Server {
	return servers.Start(t, servers.Postgres(), servers.Options{})
}

// on calls f with a connection to s.
func on(t testing.TB, s conformance.Server, f func(ctx context.Context, conn *pgx.Conn)) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := dial(ctx, s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	f(ctx, conn)
	if err := conn.Close(ctx); err != nil {
		t.Error(err)
	}
}

func dial(ctx context.Context, addr string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, "postgres://postgres:"+servers.PostgresPassword+"@"+addr+"/postgres")
}

// channel is where the driver sends the frames of a cluster.
func channel(cluster string) string {
	sum := sha256.Sum256([]byte(cluster))
	return "clusterchannel_" + hex.EncodeToString(sum[:16])
}

// inject sends what a stranger might: frame as one piece, and a payload that is
// no piece.
func inject(t testing.TB, s conformance.Server, cluster string, frame []byte) {
	on(t, s, func(ctx context.Context, conn *pgx.Conn) {
		for _, payload := range []string{"0001" + base64.RawStdEncoding.EncodeToString(frame), "0102" + "AAAA", "1764000000"} {
			if len(payload) >= 8000 {
				continue // the server accepts nothing from anybody any more
			}
			if _, err := conn.Exec(ctx, "select pg_notify($1, $2)", channel(cluster), payload); err != nil {
				t.Errorf("inject %d bytes into %q: %v", len(frame), cluster, err)
			}
		}
	})
}

// residue lists the connections of a cluster. Nothing else is ever on the server.
func residue(t testing.TB, s conformance.Server, cluster string) []string {
	var left []string
	on(t, s, func(ctx context.Context, conn *pgx.Conn) {
		var n int
		err := conn.QueryRow(ctx, "select count(*) from pg_stat_activity where application_name = $1", channel(cluster)).Scan(&n)
		if err != nil {
			t.Error(err)
		}
		if n > 0 {
			left = append(left, fmt.Sprintf("%d connections of %s", n, cluster))
		}
	})
	return left
}
