package persist_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/persist"
	"github.com/clusterchannel/clusterchannel/tests/findings"
)

func examine(t *testing.T, dsn string) (all findings.All) {
	t.Helper()
	persist.Examine(t.Context(), dsn, driver.Examination{Timeout: 3 * time.Second, Report: func(f driver.Finding) {
		if text := f.Tried + f.Got + f.Fix; strings.Contains(text, servers.PostgresPassword) {
			t.Errorf("the password is shown: %+v", f)
		}
		if f.Status == driver.Fail && f.Fix == "" {
			t.Errorf("it does not say what to do: %+v", f)
		}
		all = append(all, f)
	}})
	return all
}

// leavesNothing examines a database that is empty, in use, and of a later version.
func leavesNothing(t *testing.T, dsn string) {
	if empty := examine(t, dsn); empty.Failed() {
		t.Errorf("an empty database:\n%s", empty)
	}
	n := open(t, dsn, nil)
	n.keep(t, "words", wordsOf("a"))
	used := examine(t, dsn)
	used.Say(t, "tables", driver.OK, "version")
	used.Say(t, "write", driver.OK)
	if !strings.HasPrefix(dsn, "sqlite:") {
		used.Say(t, "clock", driver.OK)
		used.Say(t, "tcp", driver.OK)
	}
	if used.Failed() {
		t.Errorf("a database in use:\n%s", used)
	}
	var rows int
	if err := raw(t, dsn).QueryRow(`SELECT COUNT(*) FROM clusterchannel_state`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("there are %d rows: %v", rows, err)
	}
	n.end(t)
	execAll(t, dsn, `UPDATE clusterchannel_schema SET version = 99`)
	examine(t, dsn).Say(t, "tables", driver.Fail, "99", "update this program")
}

// What keeps a node from its database is named, and what to do.
func TestExamineWhatIsNotThere(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	examine(t, "sqlite:"+filepath.Join(absent, "state.db")).Say(t, "directory", driver.Fail, absent, "mkdir -p")
	examine(t, "sqlite:").Say(t, "database", driver.Fail, "DSN")
	examine(t, "postgres://u:pw@127.0.0.1:1/d").Say(t, "tcp", driver.Fail, "nothing listens at 127.0.0.1:1")
	examine(t, "postgres://u:pw@no-such-host.invalid/d").Say(t, "name", driver.Fail, "getent hosts no-such-host.invalid")
}

func TestExamineServer(t *testing.T) {
	addr := servers.Start(t, servers.Postgres(), servers.Options{}).Addr()
	dsn := postgresDSN(addr, "postgres")
	examine(t, strings.Replace(dsn, servers.PostgresPassword, "wrong-one", 1)).Say(t, "database", driver.Fail, "password authentication failed", "pg_hba.conf")
	examine(t, postgresDSN(addr, "absent")).Say(t, "database", driver.Fail, "absent", "createdb")
	if err := execute(context.Background(), "pgx", dsn, `CREATE ROLE guest LOGIN PASSWORD 'guest'`); err != nil {
		t.Fatal(err)
	}
	examine(t, strings.Replace(dsn, "postgres:"+servers.PostgresPassword, "guest:guest", 1)).Say(t, "tables", driver.Fail, "may not make them", "GRANT CREATE ON SCHEMA public TO \"guest\"")
}
