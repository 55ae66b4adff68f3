package persist_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/persist"
)

// after lets time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// TestAwayForLong checks how often a node tries a database that is away for a
// day, and how soon all is saved when it is back.
func TestAwayForLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "away")
	synctest.Test(t, func(t *testing.T) {
		n := open(t, "sqlite:"+filepath.Join(dir, "state.db"), func(o *persist.Options) { o.Interval = 10 * time.Minute })
		w := wordsOf("a")
		n.keep(t, "words", w)
		failures := func() float64 { return n.count(t, "clusterchannel_persist_failures_total") }
		age := func() time.Duration {
			return time.Since(time.Unix(int64(n.count(t, "clusterchannel_persist_last_success_timestamp_seconds")), 0))
		}
		after(3 * time.Second)
		if got := failures(); got < 2 || got > 4 {
			t.Errorf("%v attempts in the first three seconds", got)
		}
		before := failures()
		after(24 * time.Hour)
		if got := failures() - before; got < 24*60 || got > 2*24*60+20 {
			t.Errorf("%v attempts in a day, want one to two a minute", got)
		}
		if lines := strings.Count(n.text(), "\n"); lines != 1 {
			t.Errorf("the log tells it %d times: %s", lines, n.text())
		}
		w.add("b")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if got := age(); got > time.Minute || !strings.Contains(n.text(), "saved again") {
			t.Errorf("a minute after it is back, the last save is of %v ago", got)
		}
		before = failures()
		after(time.Hour)
		if got := age(); got > 10*time.Minute || failures() != before {
			t.Errorf("an hour after it is back, the last save is of %v ago", got)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		after(11 * time.Minute) // a minute at least since it was found to be away
		if got := failures() - before; got < 4 || got > 30 {
			t.Errorf("%v attempts within minutes of the failure", got)
		}
		if got := age(); got < 10*time.Second {
			t.Errorf("while it is away, the last save is of %v ago", got)
		}
		_ = n.Close(t.Context()) // it is away
	})
}

// TestLostByAKill reads what a node that is killed would leave: all but what it
// received during the last interval.
func TestLostByAKill(t *testing.T) {
	dsn := sqliteFile(t)
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Minute
		n := open(t, dsn, func(o *persist.Options) { o.Interval = interval })
		w := wordsOf()
		n.keep(t, "words", w)
		for i := range 5 {
			w.add(fmt.Sprint(i))
			after(interval + time.Second)
			left := wordsOf()
			reader := open(t, dsn, nil)
			reader.keep(t, "words", left)
			reader.end(t)
			expect(t, left, w.list()...)
		}
		n.end(t)
	})
}
