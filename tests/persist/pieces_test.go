package persist_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/persist"
)

// unhurried is the limit of a save that may be slow: nothing here is about time.
const unhurried = 5 * time.Minute

// large is a word of so many bytes, which nothing compresses.
func large(bytes int) string {
	var b strings.Builder
	for b.Len() < bytes {
		_, _ = fmt.Fprintf(&b, "%016x", rand.Uint64())
	}
	return b.String()[:bytes]
}

// A state that is larger than a statement may be is saved, by two nodes in turn, and
// so is one that has become small again.
func TestLargeStates(t *testing.T) {
	for name, start := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := start(t)(t)
			const size = 20 << 20 // above what MariaDB accepts as one statement by default
			first, second := large(size), large(size/4)
			n := open(t, dsn, func(o *persist.Options) { o.Timeout = unhurried })
			n.keep(t, "words", wordsOf(first, "small"))
			n.end(t)

			w := wordsOf(second)
			n = open(t, dsn, func(o *persist.Options) { o.Timeout, o.Node = unhurried, "node-2" })
			n.keep(t, "words", w)
			expect(t, w, first, second, "small")
			n.end(t)

			w = wordsOf()
			n = open(t, dsn, func(o *persist.Options) { o.Timeout = unhurried })
			n.keep(t, "words", w)
			expect(t, w, first, second, "small")
			n.end(t)
			if strings.Contains(n.text(), "ERROR") {
				t.Errorf("the log has errors: %.500s", n.text())
			}
		})
	}
}

// Lost pieces are reported; the row is kept aside, and the state is saved
// again.
func TestLostPiece(t *testing.T) {
	dsn := sqliteFile(t)
	word := large(2 << 20)
	patient := func(o *persist.Options) { o.Timeout = unhurried }
	n := open(t, dsn, patient)
	n.keep(t, "words", wordsOf(word))
	n.end(t)
	db, err := sql.Open("sqlite", strings.TrimPrefix(dsn, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "DELETE FROM clusterchannel_piece WHERE nth = 1"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, dsn, patient)
	n.keep(t, "words", wordsOf(word))
	if log := n.text(); !strings.Contains(log, "checksum") || n.count(t, "clusterchannel_persist_rejected_total") != 1 {
		t.Errorf("the log does not tell: %s", log)
	}
	n.end(t)
	w := wordsOf()
	open(t, dsn, patient).keep(t, "words", w)
	expect(t, w, word)
}
