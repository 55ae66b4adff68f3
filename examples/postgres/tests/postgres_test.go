package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

const patience = 20 * time.Second

// open joins a cluster, or reports why the server refuses.
func open(t *testing.T, cluster string, params map[string]string) (backend.ClusterChannel, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := backend.Open(ctx, backend.Config{
		Backend: "postgres", Cluster: cluster, Name: "node", Params: params, OnStartFailure: backend.Fail,
	})
	if err == nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := c.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return c, err
}

// attached waits until c is.
func attached(t *testing.T, c backend.ClusterChannel) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for v := range c.Watch(ctx) {
		if v.Status == backend.Attached {
			return
		}
	}
	t.Fatalf("not attached: %v", c.View().Err)
}

func TestWhatTheServerRefuses(t *testing.T) {
	s := servers.Start(t, servers.Postgres(), servers.Options{ // by default a local client needs no password
		Files: map[string][]byte{"pg_hba.conf": []byte("host all all all scram-sha-256\n")},
		Args:  []string{"-c", "hba_file={dir}/pg_hba.conf"},
	})
	for name, c := range map[string]struct {
		params map[string]string
		want   error
		text   string
	}{
		"wrong password":   {map[string]string{"password": conformance.Secret}, backend.ErrConfig, "username: the server refuses it, the password"},
		"unknown database": {map[string]string{"database": "nowhere"}, backend.ErrConfig, "database"},
		"no TLS":           {map[string]string{"sslmode": "require"}, backend.ErrUnavailable, "TLS"},
	} {
		params := map[string]string{"address": s.Addr(), "password": servers.PostgresPassword}
		for k, v := range c.params {
			params[k] = v
		}
		_, err := open(t, "refused", params)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q that names %q", name, err, c.want, c.text)
		}
		if err != nil && (strings.Contains(err.Error(), conformance.Secret) || strings.Contains(err.Error(), servers.PostgresPassword)) {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

func TestBadParametersAreNamed(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	for key, params := range map[string]map[string]string{
		"host:port":    {"address": "localhost:5432,localhost/"},
		"sslrootcert":  {"sslrootcert": absent},
		"sslkey":       {"sslcert": "/dev/null"},
		"sslmode":      {"sslmode": "allow"},
		"is given twi": {"database": "a", "path": "b"},
	} {
		if _, err := open(t, "bad", params); !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), key) {
			t.Errorf("%v: %v, want ErrConfig that names %q", params, err, key)
		}
	}
}

// TestAnotherServerOnThePort dials a server that speaks another protocol.
func TestAnotherServerOnThePort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).Peek(1)
			_, _ = io.WriteString(conn, "-ERR unknown command\r\n")
			_ = conn.Close()
		}
	}()
	defer func() { <-done }()
	defer func() { _ = l.Close() }()
	if _, err := open(t, "other", map[string]string{"address": l.Addr().String()}); !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("%v, want ErrUnavailable that names %v", err, l.Addr())
	}
}

// TestTheServerThatTakesWritesIsUsed lists a dead server, one that only reads,
// as a standby does, and a sound one.
func TestTheServerThatTakesWritesIsUsed(t *testing.T) {
	standby := servers.Start(t, servers.Postgres(), servers.Options{Args: []string{"-c", "default_transaction_read_only=on"}})
	primary := servers.Start(t, servers.Postgres(), servers.Options{})
	params := map[string]string{"address": "127.0.0.1:1," + standby.Addr() + "," + primary.Addr(), "password": servers.PostgresPassword}
	c, err := open(t, "listed", params)
	if err != nil {
		t.Fatal(err)
	}
	attached(t, c)
	if n := connections(t, primary.Addr(), "listed"); n != 2 {
		t.Errorf("%d connections to the server that takes writes, want 2", n)
	}
	params["address"] = standby.Addr()
	if _, err := open(t, "listed", params); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("a server that only reads: %v, want ErrUnavailable", err)
	}
}

// connections counts the connections of a cluster on a server.
func connections(t *testing.T, addr, cluster string) (n int) {
	t.Helper()
	query(t, addr, &n, "select count(*) from pg_stat_activity where application_name = $1", channel(cluster))
	return n
}

// query runs a statement and reads its one value.
func query(t *testing.T, addr string, into any, statement string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.QueryRow(ctx, statement, args...).Scan(into); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
