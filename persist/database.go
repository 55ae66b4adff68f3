package persist

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// database is a pool of connections, and their dialect.
type database struct {
	*sql.DB
	file       string // of SQLite
	blob, text string // types of columns
	dollar     bool   // placeholders are $1, $2 in place of ?

	// For an examination alone.
	servers        []string // their addresses, as host:port
	user, password string
	now            string // asks for the time, as seconds since 1970
	mayCreate      string // asks whether this user may create tables
}

// connect prepares a pool; it dials nothing. No error of it shows the DSN, which
// may hold a password.
func connect(dsn string) (*database, error) {
	scheme, rest, ok := strings.Cut(dsn, ":")
	if !ok || rest == "" {
		return nil, bad("is not a URL, such as sqlite:/var/lib/alerts/state.db, postgres://user@host/database or mysql://user@host/database")
	}
	switch scheme {
	case "sqlite":
		return connectSQLite(strings.TrimPrefix(rest, "//"))
	case "postgres", "postgresql":
		return connectPostgres(dsn)
	case "mysql", "mariadb":
		return connectMySQL(dsn)
	}
	return nil, bad("the scheme %q is unknown; known are sqlite, postgres and mysql", scheme)
}

func bad(format string, args ...any) error {
	return fmt.Errorf("persist: %w", params.Bad("dsn", format, args...))
}

func connectPostgres(dsn string) (*database, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) {
			err = errors.Unwrap(parse)
		}
		if err == nil || strings.Contains(err.Error(), dsn) {
			return nil, bad("is not a URL of PostgreSQL (not shown, because it may hold a password)")
		}
		return nil, bad("%w", err)
	}
	if c.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement { // pgx's default
		// A pooler in transaction mode sends the next statement over another
		// connection, on which nothing is prepared.
		c.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	db := stdlib.OpenDB(*c)
	db.SetMaxOpenConns(2)
	d := &database{
		DB: db, blob: "BYTEA", text: "TEXT", dollar: true, user: c.User, password: c.Password,
		now: `SELECT EXTRACT(EPOCH FROM clock_timestamp())::double precision`, mayCreate: `SELECT has_schema_privilege(current_schema(), 'CREATE')`,
	}
	for _, at := range append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port}}, c.Fallbacks...) {
		if server := net.JoinHostPort(at.Host, strconv.Itoa(int(at.Port))); !strings.HasPrefix(at.Host, "/") && !slices.Contains(d.servers, server) { // else it is a socket
			d.servers = append(d.servers, server)
		}
	}
	return d, nil
}

func connectMySQL(dsn string) (*database, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, bad("is not a URL (not shown, because it may hold a password)")
	}
	c, err := mysql.ParseDSN("/?" + u.RawQuery)
	if err != nil {
		return nil, bad("%w", err)
	}
	c.Net, c.Addr, c.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	if u.Port() == "" {
		c.Addr = u.Host + ":3306"
	}
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.ClientFoundRows = true // count matched rows, also those that an UPDATE does not change
	c.Logger = &mysql.NopLogger{}
	if c.DBName == "" {
		return nil, bad("mysql needs the name of a database: mysql://user@host/database")
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, bad("%w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(2)
	return &database{
		DB: db, blob: "LONGBLOB", text: "VARCHAR(255) CHARACTER SET utf8mb4",
		servers: []string{c.Addr}, user: c.User, password: c.Passwd, now: `SELECT UNIX_TIMESTAMP(NOW(6)) + 0e0`,
	}, nil
}

// bind turns the placeholders of a statement into those of the dialect.
func (d *database) bind(statement string) string {
	if !d.dollar {
		return statement
	}
	var b strings.Builder
	for i, part := range strings.Split(statement, "?") {
		if i > 0 {
			fmt.Fprintf(&b, "$%d", i)
		}
		b.WriteString(part)
	}
	return b.String()
}

func (d *database) exec(ctx context.Context, statement string, args ...any) (changed int64, err error) {
	r, err := d.ExecContext(ctx, d.bind(statement), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// isNoTable reports whether a statement failed because there is no such table.
func isNoTable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "42P01"
	}
	if my, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return my.Number == 1146
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return lite.Code() == sqlite3.SQLITE_ERROR && strings.Contains(lite.Error(), "no such table")
	}
	return false
}

// isDuplicate reports whether a row or table was not made because it exists.
func isDuplicate(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return slices.Contains([]string{"23505", "42P07", "42710"}, pg.Code) // a row, a table, the type of a table
	}
	if my, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return my.Number == 1062
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
	}
	return false
}
