package persist_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
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
