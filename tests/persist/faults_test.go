package persist_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/persist"
)

// faulty is a server that can be stopped and made to hang.
type faulty interface {
	Addr() string
	Pause(testing.TB)
	Resume(testing.TB)
	Stop(testing.TB)
	Start(testing.TB)
}

func TestDatabaseStopsAndHangs(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (faulty, func(addr string) string){
		"postgres": func(t *testing.T) (faulty, func(string) string) {
			return servers.Start(t, servers.Postgres(), servers.Options{}), func(addr string) string { return postgresDSN(addr, "postgres") }
		},
		"mariadb": func(t *testing.T) (faulty, func(string) string) {
			return startMaria(t), func(addr string) string { return "mysql://root@" + addr + "/mysql" }
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, dsn := start(t)
			stopsAndHangs(t, server, dsn)
		})
	}
}

func stopsAndHangs(t *testing.T, server faulty, dsn func(addr string) string) {
	quick := func(o *persist.Options) { o.Interval, o.Timeout = 20*time.Millisecond, 500*time.Millisecond }
	n := open(t, dsn(server.Addr()), quick)
	w := wordsOf("before")
	n.keep(t, "words", w)
	failures := func() float64 { return n.count(t, "clusterchannel_persist_failures_total") }

	server.Pause(t)
	eventually(t, "a database that hangs is counted", func() bool { return failures() > 0 })
	began := time.Now()
	other := open(t, dsn(server.Addr()), func(o *persist.Options) { quick(o); o.Interval = time.Hour })
	late := wordsOf("late")
	other.keep(t, "words", late)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("Keep waited %v for a database that hangs", d)
	}
	expect(t, late, "late")
	w.add("while it hung")
	server.Resume(t)
	eventually(t, "what was added meanwhile is stored", func() bool {
		n := open(t, dsn(server.Addr()), nil)
		defer n.end(t)
		have := wordsOf()
		n.keep(t, "words", have)
		return slices.Contains(have.list(), "while it hung")
	})
	other.end(t)
	expect(t, late, "before", "late", "while it hung")

	before := failures()
	addr := server.Addr()
	server.Stop(t)
	eventually(t, "a database that is away is counted", func() bool { return failures() > before })
	w.add("while it was away")
	server.Start(t)
	if server.Addr() != addr { // a container may be back at another port: what n saves there is not seen
		open(t, dsn(server.Addr()), quick).keep(t, "words", w)
	}
	eventually(t, "what was added while it was away is stored", func() bool {
		n := open(t, dsn(server.Addr()), nil)
		defer n.end(t)
		have := wordsOf()
		n.keep(t, "words", have)
		return slices.Equal(have.list(), []string{"before", "late", "while it hung", "while it was away"})
	})
}

// refusals make a database refuse what is written to it. They return the DSN of
// a user that is refused.
var refusals = map[string]func(t *testing.T, dsn string) string{
	"sqlite, a disk that is full": func(t *testing.T, dsn string) string {
		execAll(t, dsn,
			`CREATE TRIGGER no_update BEFORE UPDATE ON clusterchannel_state BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`,
			`CREATE TRIGGER no_insert BEFORE INSERT ON clusterchannel_state BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`)
		return dsn
	},
	"postgres, read-only": func(t *testing.T, dsn string) string {
		execAll(t, dsn, `ALTER DATABASE `+databaseOf(dsn)+` SET default_transaction_read_only = on`)
		return dsn
	},
	"postgres, a role that may only read": func(t *testing.T, dsn string) string {
		role := "reader_" + databaseOf(dsn)
		execAll(t, dsn, `CREATE ROLE `+role+` LOGIN PASSWORD 'r'`, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+role)
		return strings.Replace(dsn, "postgres:"+servers.PostgresPassword, role+":r", 1)
	},
	"postgres, a disk that is full": func(t *testing.T, dsn string) string {
		execAll(t, dsn, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$`,
			`CREATE TRIGGER refused BEFORE INSERT OR UPDATE ON clusterchannel_state EXECUTE FUNCTION full_disk()`)
		return dsn
	},
	"mariadb, a user that may only read": func(t *testing.T, dsn string) string {
		user := "reader_" + databaseOf(dsn)
		execAll(t, dsn, `CREATE USER `+user+` IDENTIFIED BY 'r'`, `GRANT SELECT ON `+databaseOf(dsn)+`.* TO `+user)
		return strings.Replace(dsn, "root@", user+":r@", 1)
	},
	"mariadb, read-only": func(t *testing.T, dsn string) string {
		user := "writer_" + databaseOf(dsn)
		execAll(t, dsn, `CREATE USER `+user+` IDENTIFIED BY 'w'`, `GRANT ALL ON `+databaseOf(dsn)+`.* TO `+user, `SET GLOBAL read_only = 1`)
		t.Cleanup(func() { execAll(t, dsn, `SET GLOBAL read_only = 0`) })
		return strings.Replace(dsn, "root@", user+":w@", 1)
	},
}

func execAll(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	db := raw(t, dsn)
	for _, statement := range statements {
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func databaseOf(dsn string) string {
	name, _, _ := strings.Cut(dsn[strings.LastIndex(dsn, "/")+1:], "?")
	return name
}

// TestRefused checks that what is stored is loaded, and nothing stops, if
// nothing may be saved; and that all is saved once it may.
func TestRefused(t *testing.T) {
	for kind, start := range databases {
		t.Run(kind, func(t *testing.T) {
			empty := start(t)
			for name, refuse := range refusals {
				if rest, is := strings.CutPrefix(name, kind+", "); is {
					t.Run(rest, func(t *testing.T) { refused(t, empty(t), refuse) })
				}
			}
		})
	}
}

func refused(t *testing.T, dsn string, refuse func(*testing.T, string) string) {
	n := open(t, dsn, nil)
	n.keep(t, "words", wordsOf("a"))
	n.end(t)
	refusing := refuse(t, dsn)
	examine(t, refusing).Say(t, "write", driver.Fail)
	n = open(t, refusing, nil)
	w := wordsOf("b")
	n.keep(t, "words", w)
	expect(t, w, "a", "b")
	if n.count(t, "clusterchannel_persist_failures_total") == 0 || n.count(t, "clusterchannel_persist_last_success_timestamp_seconds") != 0 {
		t.Error("the metrics do not tell that nothing is saved")
	}
	if n.count(t, "clusterchannel_persist_size_bytes") == 0 {
		t.Error("the size of what was loaded is not told")
	}
	if err := n.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "save: ") {
		t.Errorf("Close: %v", err)
	}
	equal := open(t, dsn, nil) // a node with nothing to save does not fail
	w = wordsOf()
	equal.keep(t, "words", w)
	expect(t, w, "a")
	equal.end(t)
}

// TestNotADatabase starts on a file that is none: it stays as it is, and what
// the log says to do helps.
func TestNotADatabase(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	n := open(t, "sqlite:"+whole, nil)
	n.keep(t, "words", wordsOf(strings.Repeat("x", 64<<10)))
	n.end(t)
	database, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"text":       []byte(strings.Repeat("this is a letter\n", 1000)),
		"truncated":  database[:len(database)/2],
		"overwrites": slices.Concat(database[:1024], bytes.Repeat([]byte{0x5a}, len(database)-1024)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if found := examine(t, "sqlite:"+path); !found.Failed() || !strings.Contains(found.String(), path) {
				t.Errorf("the examination finds\n%s", found)
			}
			n := open(t, "sqlite:"+path, func(o *persist.Options) { o.Interval = 20 * time.Millisecond })
			w := wordsOf("a")
			n.keep(t, "words", w)
			expect(t, w, "a")
			if log := n.text(); !strings.Contains(log, path) || !strings.Contains(log, "move it") {
				t.Errorf("the log does not name the file and what to do: %s", log)
			}
			if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, content) {
				t.Errorf("the file is not as it was: %d of %d bytes, %v", len(left), len(content), err)
			}
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
			for _, beside := range []string{"-wal", "-shm"} {
				if err := os.Remove(path + beside); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
			eventually(t, "the state is in a new file", func() bool { return strings.Contains(n.text(), "saved again") })
			n.end(t)
			w = wordsOf()
			open(t, "sqlite:"+path, nil).keep(t, "words", w)
			expect(t, w, "a")
		})
	}
}

func TestDatabaseAppearsLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	dsn := "sqlite:" + filepath.Join(dir, "state.db")
	n := open(t, dsn, func(o *persist.Options) { o.Interval = 20 * time.Millisecond })
	w := wordsOf("a")
	n.keep(t, "words", w)
	expect(t, w, "a")
	if n.count(t, "clusterchannel_persist_failures_total") == 0 {
		t.Error("the failure is not counted")
	}
	if last := "clusterchannel_persist_last_success_timestamp_seconds"; !n.has(t, last) || n.count(t, last) != 0 {
		t.Error("that nothing was ever saved cannot be told from there being no database")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	other := open(t, dsn, nil)
	other.keep(t, "words", wordsOf("b"))
	other.end(t)
	eventually(t, "what others saved is merged", func() bool { return slices.Equal(w.list(), []string{"a", "b"}) })
}

// TestFileIsTakenAway removes the file of a node that has saved: the node makes
// a new one, without a restart.
func TestFileIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	dsn := "sqlite:" + filepath.Join(dir, "state.db")
	n := open(t, dsn, func(o *persist.Options) { o.Interval = 20 * time.Millisecond })
	n.keep(t, "words", wordsOf("a"))
	files, err := filepath.Glob(filepath.Join(dir, "state.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	eventually(t, "it is in a new file", func() bool { return strings.Contains(n.text(), "saved again") })
	n.end(t)
	w := wordsOf()
	open(t, dsn, nil).keep(t, "words", w)
	expect(t, w, "a")
}
