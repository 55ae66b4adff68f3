package persist

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/url"
	"os"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func connectSQLite(path string) (*database, error) {
	if path == "" || strings.ContainsAny(path, "?#") {
		return nil, bad("sqlite takes a path, without ? and #")
	}
	if path == ":memory:" {
		return nil, bad("sqlite in memory keeps nothing; give the path of a file, or leave the database out")
	}
	name := "file:" + (&url.URL{Path: path}).EscapedPath()
	journal := "WAL"
	if sharedFileSystem(path) != "" {
		journal = "DELETE" // the other mode needs memory that all writers share
	}
	writable, err := sqlite.NewConnector(name + "?" + url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(" + journal + ")", "synchronous(FULL)"},
		"_txlock": {"immediate"},
	}.Encode())
	if err != nil {
		return nil, bad("%w", err)
	}
	fixed, err := sqlite.NewConnector(name + "?mode=ro&immutable=1")
	if err != nil {
		return nil, bad("%w", err)
	}
	db := sql.OpenDB(fileConnector{writable, fixed, path})
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(0) // notices a file that has replaced the former one
	return &database{DB: db, file: path, blob: "BLOB", text: "TEXT"}, nil
}

// fileConnector opens a file for writing, or for reading if its directory is
// not writable, or its disk full: SQLite by itself does not read there, since it
// has no place for the files that it shares with other writers.
type fileConnector struct {
	driver.Connector
	fixed driver.Connector // assumes that nobody else writes
	path  string
}

// Connect implements driver.Connector.
func (c fileConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err == nil {
		if err = read(ctx, conn); err == nil {
			return conn, nil
		}
		_ = conn.Close() // err says what is wrong
	}
	switch primary(err) {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL:
	default:
		return nil, err
	}
	if log, statErr := os.Stat(c.path + "-wal"); statErr == nil && log.Size() > 0 {
		return nil, err // without its log the file is not whole
	}
	if conn, fixedErr := c.fixed.Connect(ctx); fixedErr == nil {
		return conn, nil
	}
	return nil, err
}

// read reads whatever is there, for which SQLite makes the files that it shares.
func read(ctx context.Context, conn driver.Conn) error {
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return nil
	}
	rows, err := q.QueryContext(ctx, `SELECT name FROM sqlite_master LIMIT 1`, nil)
	if err != nil {
		return err
	}
	return rows.Close()
}

// primary returns the primary code of an error of SQLite, without the extended
// part; 0 for any other error.
func primary(err error) int {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return lite.Code() & 0xff
	}
	return 0
}
