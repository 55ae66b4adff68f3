package persist_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// databases start what is to be tested on. What they return makes an empty
// database, and returns its DSN.
var databases = map[string]func(t *testing.T) func(t *testing.T) string{
	"sqlite": func(*testing.T) func(*testing.T) string { return sqliteFile },
	"postgres": func(t *testing.T) func(*testing.T) string {
		addr := servers.Start(t, servers.Postgres(), servers.Options{}).Addr()
		return func(t *testing.T) string {
			return create(t, "pgx", postgresDSN(addr, "postgres"), func(name string) string { return postgresDSN(addr, name) })
		}
	},
	"pgbouncer": func(t *testing.T) func(*testing.T) string {
		server := servers.Start(t, servers.Postgres(), servers.Options{}).Addr()
		addr := startPooler(t, server).Addr()
		return func(t *testing.T) string {
			return create(t, "pgx", postgresDSN(server, "postgres"), func(name string) string { return postgresDSN(addr, name) })
		}
	},
	"mariadb": func(t *testing.T) func(*testing.T) string {
		addr := startMaria(t).Addr()
		return func(t *testing.T) string {
			return create(t, "mysql", mariaSource(addr, ""), func(name string) string { return "mysql://root@" + addr + "/" + name })
		}
	},
}

var made atomic.Int32

// create makes one more database, and returns its DSN.
func create(t *testing.T, driver, source string, dsn func(name string) string) string {
	t.Helper()
	name := fmt.Sprintf("state%d", made.Add(1))
	if err := execute(t.Context(), driver, source, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return dsn(name)
}

func execute(ctx context.Context, driver, source, statement string) error {
	db, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, statement)
	return err
}

func postgresDSN(addr, name string) string {
	return fmt.Sprintf("postgres://postgres:%s@%s/%s?sslmode=disable", servers.PostgresPassword, addr, name)
}

// startPooler starts a PgBouncer before a PostgreSQL, in transaction mode: each
// statement may go to another connection of the server, and what was prepared on one
// is not there on the next.
func startPooler(t *testing.T, server string) *process.Server {
	t.Helper()
	path := process.Need(t, "pgbouncer")
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		t.Fatal(err)
	}
	listen, dir := process.Port(t), t.TempDir()
	settings := fmt.Sprintf(`[databases]
* = host=%s port=%s user=postgres password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
server_lifetime = 1
`, host, port, servers.PostgresPassword, listen)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{file}
	if os.Getuid() == 0 { // as whom it does not run
		args = []string{"-u", "nobody", file}
		for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return process.Start(t, process.Spec{
		Path: path, Args: args, Addr: fmt.Sprintf("127.0.0.1:%d", listen),
		Ready: func(ctx context.Context, addr string) error {
			return execute(ctx, "pgx", postgresDSN(addr, "postgres")+"&default_query_exec_mode=exec", "SELECT 1")
		},
	})
}

func mariaSource(addr, name string) string { return "root@tcp(" + addr + ")/" + name }

// mariaScript makes an empty database directory where there is none, as the entry
// point of the image does.
const mariaScript = `#!/bin/sh
set -eu
[ -d "$DATA/mysql" ] || mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$DATA" --auth-root-authentication-method=normal --skip-test-db >/dev/null
exec "$@" --user="$(id -un)"
`

func startMaria(t *testing.T) *process.Server {
	t.Helper()
	path := process.Need(t, "mariadbd")
	script := t.TempDir() + "/mariadb.sh"
	if err := os.WriteFile(script, []byte(mariaScript), 0o755); err != nil {
		t.Fatal(err)
	}
	data, port := t.TempDir(), process.Port(t)
	return process.Start(t, process.Spec{
		Path: "/bin/sh",
		Args: []string{
			script, path, "--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", port),
			"--socket=" + data + "/s", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M",
		},
		Env: []string{"DATA=" + data}, Data: data, Addr: fmt.Sprintf("127.0.0.1:%d", port),
		Ready: func(ctx context.Context, addr string) error {
			return execute(ctx, "mysql", mariaSource(addr, ""), "SELECT 1")
		},
	})
}

// mysqlSource is a DSN as the driver takes it.
func mysqlSource(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return mariaSource(u.Host, strings.TrimPrefix(u.Path, "/"))
}
