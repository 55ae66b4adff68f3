package persist

import (
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	sqlite3 "modernc.org/sqlite/lib"
)

// explain adds what to do to an error of a database, and the file to an error
// of SQLite, which does not name it.
func (d *database) explain(err error) error {
	wayOut, err := d.remedy(err)
	if wayOut == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, wayOut)
}

// remedy returns err with the file, and what to do about it; empty if that is not
// known.
func (d *database) remedy(err error) (wayOut string, named error) {
	if code := primary(err); code != 0 && d.file != "" {
		return d.fileRemedy(code), fmt.Errorf("%s: %w", d.file, err)
	}
	return serverRemedy(err), err
}

// fileRemedy says what to do about an error of SQLite.
func (d *database) fileRemedy(code int) string {
	if code != sqlite3.SQLITE_NOTADB && code != sqlite3.SQLITE_CORRUPT && isFull(d.file) { // SQLite may call it another error
		code = sqlite3.SQLITE_FULL
	}
	switch code {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return "it is left as it is: move it and the files that begin with its name away, or put a backup there; it is then used without a restart"
	case sqlite3.SQLITE_READONLY:
		return "what can be read of it is loaded: let this node write to it and to its directory; it then saves without a restart"
	case sqlite3.SQLITE_CANTOPEN:
		return "its directory must exist, and this node must be allowed to write there"
	case sqlite3.SQLITE_FULL:
		return "the state that was saved before is kept: make room on its disk; this node then saves without a restart"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_IOERR:
		if kind := sharedFileSystem(d.file); kind != "" {
			return "it is on " + kind + ", where locks may not hold: give it a disk of this host, one file a node"
		}
		return "another process may hold it, or its disk may be failing; the state that was saved before is kept"
	}
	return ""
}

// serverRemedy says what to do about an error of PostgreSQL or MySQL.
func serverRemedy(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "53100":
			return "the state that was saved before is kept: make room on the server's disk"
		case "54000":
			return "the server accepts no statement so large"
		case "25006":
			return "the server only reads: give the address of the one that writes"
		case "42501":
			return "let this user create and change tables there"
		}
	}
	if my, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch my.Number {
		case 1153:
			return "raise the server's max_allowed_packet above 1 MiB"
		case 1021, 1114:
			return "the state that was saved before is kept: make room on the server's disk"
		case 1290, 1836:
			return "the server only reads: give the address of the one that writes"
		case 1142, 1044:
			return "let this user create and change tables there"
		}
	}
	if errors.Is(err, mysql.ErrPktTooLarge) {
		return "raise the server's max_allowed_packet above 1 MiB"
	}
	return ""
}
