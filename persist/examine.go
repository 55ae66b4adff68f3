package persist

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// Examine goes from a DSN to a row that could be saved, and reports what each step
// has found. It leaves nothing in the database, and may run beside the nodes that
// use it. Of e it uses Timeout and Report. No finding shows the DSN's password.
func Examine(ctx context.Context, dsn string, e driver.Examination) {
	db, err := connect(dsn)
	if err != nil {
		e.Fail("database", "read the DSN", err, "correct what the error names")
		return
	}
	defer db.Close() //nolint:errcheck // it has answered
	report := e.Report
	e.Report = func(f driver.Finding) {
		for _, text := range []*string{&f.Tried, &f.Got, &f.Fix} {
			*text = params.RedactText(*text, map[string]string{"user": db.user, "password": db.password}, account{})
		}
		report(f)
	}
	x := exam{e, db}
	if !x.reach(ctx) || !x.tables(ctx) {
		return
	}
	x.write(ctx)
	if db.now != "" {
		doctor.Clock(ctx, e, "the database", 0, x.now)
	}
}

// account is what a DSN logs in with, for params.RedactText.
type account struct {
	User     string `param:"user"`
	Password string `param:"password" secret:"true"`
}

// exam is the examination of one database.
type exam struct {
	driver.Examination
	db *database
}

// within bounds a step.
func (x exam) within(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, x.Timeout)
	defer cancel()
	return step(ctx)
}

// failed reports a step that failed. general is what to do where the error says no
// better.
func (x exam) failed(name, tried string, err error, general string) {
	fix, err := x.db.remedy(err)
	x.Fail(name, tried, err, cmp.Or(fix, general))
}

// reach finds the file, or logs in to the server. It reports whether there is
// something to look into.
func (x exam) reach(ctx context.Context) bool {
	if file := x.db.file; file != "" {
		if kind := sharedFileSystem(file); kind != "" {
			x.Warn("file system", "look at that of "+file, kind+", where locks may not hold", "give the file a disk of this host, one file a node")
		}
		if !doctor.Directory(x.Examination, "directory", filepath.Dir(file), false) {
			return false
		}
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			x.OK("database", "look for "+file, "it is not there yet; the node makes it")
			return false
		}
	} else if len(doctor.Reach(ctx, x.Examination, doctor.Resolve(ctx, x.Examination, x.db.servers))) == 0 && len(x.db.servers) > 0 {
		return false
	}
	tried := doctor.LogIn(x.db.user) + " to the database"
	if x.db.file != "" {
		tried = "open " + x.db.file
	}
	if err := x.within(ctx, x.db.PingContext); err != nil {
		x.failed("database", tried, err, fixLogin(err))
		return false
	}
	x.OK("database", tried, "ok")
	return true
}

// tables looks for them. It reports whether a row can be tried.
func (x exam) tables(ctx context.Context) bool {
	const name, tried = "tables", "read the version of their schema"
	version, ready := 0, false
	var later []string
	err := x.within(ctx, func(ctx context.Context) (err error) {
		if version, err = x.db.schema(ctx); isNoTable(err) || errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if ready = err == nil && version > 0; ready {
			later, err = x.db.later(ctx)
		}
		return err
	})
	switch {
	case err != nil:
		x.failed(name, tried, err, "let this user read the tables clusterchannel_*")
		return false
	case version > len(migrations):
		x.Fail(name, tried, fmt.Errorf("%w: it is %d, known up to %d", errSchema, version, len(migrations)), "update this program")
		return false
	case len(later) > 0:
		x.Fail(name, tried, fmt.Errorf("a later version of this program has saved %s", strings.Join(later, ", ")),
			"update the nodes of these clusters: older ones leave the rows as they are, and save nothing there")
		return false
	case ready:
		x.OK(name, tried, fmt.Sprintf("version %d of %d", version, len(migrations)))
		return true
	}
	x.mayCreate(ctx)
	return false
}

// mayCreate asks for the right to make the tables, where that can be asked.
func (x exam) mayCreate(ctx context.Context) {
	const name, tried = "tables", "ask for the right to make them"
	if x.db.mayCreate == "" {
		x.Skip(name, tried, "they are not there yet", "the first node makes them: let its user create and change tables there")
		return
	}
	may := false
	err := x.within(ctx, func(ctx context.Context) error { return x.db.QueryRowContext(ctx, x.db.mayCreate).Scan(&may) })
	if err == nil && !may {
		err = errors.New("they are not there yet, and this user may not make them")
	}
	if err != nil {
		x.Fail(name, tried, err, fmt.Sprintf("as the owner of the database: GRANT CREATE ON SCHEMA public TO %q", x.db.user))
		return
	}
	x.OK(name, tried, "they are not there yet; the first node makes them")
}

// write saves a row, and takes it back.
func (x exam) write(ctx context.Context) {
	const name, tried = "write", "save a row, and take it back"
	err := x.within(ctx, func(ctx context.Context) error {
		tx, err := x.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		id := "doctor-" + rand.Text()
		_, err = tx.ExecContext(ctx, x.db.bind(`INSERT INTO clusterchannel_state (id, cluster_name, state_key, version, format, digest, checksum, saved_at, saved_by, data) VALUES (?, ?, ?, 1, ?, 0, ?, ?, ?, ?)`),
			id, "doctor", "doctor", whole, checksum(nil), time.Now().Unix(), "doctor", make([]byte, 4096))
		return errors.Join(err, tx.Rollback())
	})
	if err != nil {
		x.failed(name, tried, err, "let this user, and this node, write to the tables clusterchannel_*")
		return
	}
	x.OK(name, tried, "it could be saved")
}

// now asks the database for the time.
func (x exam) now(ctx context.Context) (time.Time, error) {
	var seconds float64
	if err := x.db.QueryRowContext(ctx, x.db.now).Scan(&seconds); err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(int64(seconds * 1e6)), nil
}

func fixLogin(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "28P01", "28000":
			return "correct user and password in the DSN, and see the server's pg_hba.conf"
		case "3D000":
			return "make the database, or correct its name: \"createdb\""
		case "53300":
			return "the server has no connection to spare: raise max_connections, or put a pooler in front of it"
		}
	}
	if my, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch my.Number {
		case 1045:
			return "correct user and password in the DSN, and the hosts that the user may come from"
		case 1049:
			return "make the database, or correct its name: CREATE DATABASE"
		case 1044:
			return "let this user use the database: GRANT"
		}
	}
	return "do what the error says; the log of the server may say more"
}
