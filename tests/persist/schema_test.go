package persist_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/clusterchannel/clusterchannel/persist"
)

// nodesMigrateAtOnce starts nodes on an empty database all together: none of them
// fails, so that none has to wait until it tries again.
func nodesMigrateAtOnce(t *testing.T, dsn string) {
	const nodes = 8
	var all []*node
	for range nodes {
		all = append(all, open(t, dsn, nil))
	}
	var begun, done sync.WaitGroup
	begun.Add(nodes)
	for i, n := range all {
		done.Go(func() {
			begun.Done()
			begun.Wait()
			if _, err := n.Keep(t.Context(), "words", wordsOf(fmt.Sprint("w", i))); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	for _, n := range all {
		if failures := n.count(t, "clusterchannel_persist_failures_total"); failures != 0 {
			t.Errorf("a node has failed: %s", n.text())
		}
		n.end(t)
	}
	w := wordsOf()
	open(t, dsn, nil).keep(t, "words", w)
	if have := len(w.list()); have != nodes {
		t.Errorf("%d of %d words are there", have, nodes)
	}
}

// olderSchema migrates what a node leaves that is killed during a migration,
// and a schema of version 0; what is stored is kept.
func olderSchema(t *testing.T, dsn string) {
	for i, statements := range [][]string{
		{`DELETE FROM clusterchannel_schema`},
		{`DROP TABLE clusterchannel_schema`},
		{`UPDATE clusterchannel_schema SET version = 0`},
		{`UPDATE clusterchannel_schema SET version = 0`, `DROP TABLE clusterchannel_rejected`},
	} {
		n := open(t, dsn, nil)
		n.keep(t, "words", wordsOf(fmt.Sprint("w", i)))
		n.end(t)
		db := raw(t, dsn)
		for _, statement := range statements {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		n = open(t, dsn, nil)
		w := wordsOf()
		n.keep(t, "words", w)
		if have := w.list(); len(have) != i+1 {
			t.Errorf("after %q: %q", statements, have)
		}
		n.end(t)
		var version, rejected int
		if err := db.QueryRow(`SELECT version, (SELECT COUNT(*) FROM clusterchannel_rejected) FROM clusterchannel_schema`).Scan(&version, &rejected); err != nil || version != 1 {
			t.Errorf("after %q: version %d, %v", statements, version, err)
		}
	}
}

// backupIsPutBack replaces the row by another one of the same version.
func backupIsPutBack(t *testing.T, dsn string) {
	backup := open(t, dsn, func(o *persist.Options) { o.Cluster = "backup" })
	backup.keep(t, "words", wordsOf("of the backup"))
	backup.end(t)
	n := open(t, dsn, nil)
	w := wordsOf("a")
	n.keep(t, "words", w)
	db := raw(t, dsn)
	var digest int64
	var sum, data string
	if err := db.QueryRow(`SELECT digest, checksum, data FROM clusterchannel_state WHERE cluster_name = 'backup'`).Scan(&digest, &sum, &data); err != nil {
		t.Fatal(err)
	}
	r, err := db.Exec(fmt.Sprintf(`UPDATE clusterchannel_state SET digest = %d, checksum = '%s', data = '%s' WHERE cluster_name = 'alerts' AND version = 1`, digest, sum, data))
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := r.RowsAffected(); err != nil || rows != 1 {
		t.Fatalf("%d rows changed, %v", rows, err)
	}
	n.end(t)
	expect(t, w, "a", "of the backup")
	w = wordsOf()
	open(t, dsn, nil).keep(t, "words", w)
	expect(t, w, "a", "of the backup")
}

// anyName uses names that a column may not accept.
func anyName(t *testing.T, dsn string) {
	for _, name := range []string{"\U0001F514 alerts", "\xff\xfe", "a\x00b", "\u65e5\u672c", strings.Repeat("\U0001F514", 300), "o'clock"} {
		in := func(o *persist.Options) { o.Cluster, o.Node = strings.ToValidUTF8(name, "?"), name }
		n := open(t, dsn, in)
		n.keep(t, name, wordsOf("a"))
		n.end(t)
		n = open(t, dsn, in)
		w := wordsOf()
		n.keep(t, name, w)
		expect(t, w, "a")
	}
}
