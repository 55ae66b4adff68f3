package persist_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/persist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// words is a state: a set that only grows.
type words struct {
	mu  sync.Mutex
	all map[string]bool
}

func wordsOf(all ...string) *words {
	w := &words{all: map[string]bool{}}
	for _, word := range all {
		w.all[word] = true
	}
	return w
}

func (w *words) add(word string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[word] = true
}

func (w *words) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.all))
}

func (w *words) MarshalBinary() ([]byte, error) { return json.Marshal(w.list()) }

func (w *words) Merge(b []byte) error {
	var all []string
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for _, word := range all {
		if word == "panic" {
			panic("a word that panics")
		}
		w.add(word)
	}
	return nil
}

// shelf is words that can be taken apart.
type shelf struct{ *words }

func (s shelf) EntryIDs() iter.Seq[backend.EntryID] {
	return func(yield func(backend.EntryID) bool) {
		for _, word := range s.list() {
			if !yield(backend.EntryIDOf([]byte(word))) {
				return
			}
		}
	}
}

func (s shelf) Entry(id backend.EntryID) ([]byte, error) {
	for _, word := range s.list() {
		if backend.EntryIDOf([]byte(word)) == id {
			return json.Marshal([]string{word})
		}
	}
	return nil, nil
}

// undigested is a shelf that tells no digest of its own.
type undigested struct{ backend.EntryState }

func (w *words) Digest() (uint64, error) {
	var sum uint64
	for _, word := range w.list() {
		h := fnv.New64a()
		h.Write([]byte(word))
		sum += h.Sum64()
	}
	return sum, nil
}

type node struct {
	*persist.Store
	log      *testkit.Log
	registry *prometheus.Registry
}

// open opens a store that saves when it is closed, and hardly before.
func open(t *testing.T, dsn string, change func(*persist.Options)) *node {
	t.Helper()
	n := &node{log: &testkit.Log{}, registry: prometheus.NewRegistry()}
	o := persist.Options{
		DSN: dsn, Cluster: "alerts", Node: "node-1", Interval: time.Hour, Timeout: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(n.log, nil)), Registerer: n.registry,
	}
	if change != nil {
		change(&o)
	}
	var err error
	if n.Store, err = persist.Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	return n
}

func (n *node) text() string { return n.log.String() }

func (n *node) keep(t *testing.T, key string, s backend.State) backend.State {
	t.Helper()
	k, err := n.Keep(t.Context(), key, s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (n *node) end(t *testing.T) {
	t.Helper()
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// has reports whether the metric has a series.
func (n *node) has(t *testing.T, name string) bool {
	t.Helper()
	found, err := testutil.GatherAndCount(n.registry, name)
	if err != nil {
		t.Fatal(err)
	}
	return found > 0
}

// count is the sum of the metric over all states.
func (n *node) count(t *testing.T, name string) (sum float64) {
	t.Helper()
	all, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// expect checks that w holds the words of want, in whatever order, and no others.
func expect(t *testing.T, w *words, want ...string) {
	t.Helper()
	if have := w.list(); !slices.Equal(have, slices.Sorted(slices.Values(want))) {
		t.Errorf("the state is %.200q, want %.200q", have, want)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() error {
		if !ok() {
			return fmt.Errorf("it is not so that %s", what)
		}
		return nil
	})
}

// TestDatabases runs each test on each database, empty.
func TestDatabases(t *testing.T) {
	for name, start := range databases {
		t.Run(name, func(t *testing.T) {
			empty := start(t)
			for name, test := range map[string]func(*testing.T, string){
				"back after a stop":         backAfterAStop,
				"clusters never meet":       clustersNeverMeet,
				"last writer loses nothing": lastWriterLosesNothing,
				"another save in between":   anotherSaveInBetween,
				"saves what changed":        savesWhatChanged,
				"equal nodes write once":    equalNodesWriteOnce,
				"entries are kept":          entriesAreKept,
				"empty state":               emptyState,
				"later schema":              laterSchema,
				"unusable rows":             unusableRows,
				"later row":                 laterRow,
				"later row meanwhile":       laterRowMeanwhile,
				"nodes migrate at once":     nodesMigrateAtOnce,
				"older schema":              olderSchema,
				"backup is put back":        backupIsPutBack,
				"any name":                  anyName,
				"an examination":            leavesNothing,
			} {
				t.Run(name, func(t *testing.T) { test(t, empty(t)) })
			}
		})
	}
}

func sqliteFile(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "state.db") }

func backAfterAStop(t *testing.T, dsn string) {
	n := open(t, dsn, nil)
	n.keep(t, "words", wordsOf("a"))
	n.keep(t, "other", wordsOf("z"))
	n.end(t)
	n = open(t, dsn, nil)
	w, other := wordsOf("b"), wordsOf()
	n.keep(t, "words", w)
	n.keep(t, "other", other)
	expect(t, w, "a", "b")
	expect(t, other, "z")
	if n.count(t, "clusterchannel_persist_last_success_timestamp_seconds") == 0 || n.count(t, "clusterchannel_persist_size_bytes") == 0 {
		t.Error("the metrics do not tell of the save")
	}
}

func clustersNeverMeet(t *testing.T, dsn string) {
	names := []string{"alerts", "Alerts", "alerts ", "älerts", "alerts:words", strings.Repeat("x", 200)}
	for _, name := range names {
		n := open(t, dsn, func(o *persist.Options) { o.Cluster = name })
		n.keep(t, "words", wordsOf(name))
		n.end(t)
	}
	for _, name := range names {
		n := open(t, dsn, func(o *persist.Options) { o.Cluster = name })
		w := wordsOf()
		n.keep(t, "words", w)
		expect(t, w, name)
	}
}

func lastWriterLosesNothing(t *testing.T, dsn string) {
	const nodes, rounds = 4, 10
	var all sync.WaitGroup
	for i := range nodes {
		n := open(t, dsn, func(o *persist.Options) { o.Interval = time.Millisecond })
		w := wordsOf()
		n.keep(t, "words", w)
		all.Go(func() {
			for k := range rounds {
				w.add(fmt.Sprintf("%d-%d", i, k))
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := n.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w := wordsOf()
	open(t, dsn, nil).keep(t, "words", w)
	if have := len(w.list()); have != nodes*rounds {
		t.Errorf("%d of %d words are there", have, nodes*rounds)
	}
}

// hurried is a state that runs something once, after it was loaded and before
// it is saved.
type hurried struct {
	*words
	between func()
	once    sync.Once
}

func (h *hurried) MarshalBinary() ([]byte, error) {
	b, err := h.words.MarshalBinary()
	h.once.Do(h.between)
	return b, err
}

func anotherSaveInBetween(t *testing.T, dsn string) {
	for i, first := range [][]string{nil, {"0"}} { // an insert, an update
		if first != nil {
			n := open(t, dsn, nil)
			n.keep(t, "words", wordsOf(first...))
			n.end(t)
		}
		n := open(t, dsn, nil)
		w := wordsOf(fmt.Sprint("mine", i))
		n.keep(t, "words", &hurried{words: w, between: func() {
			other := open(t, dsn, nil)
			other.keep(t, "words", wordsOf(fmt.Sprint("other", i)))
			other.end(t)
		}})
		n.end(t)
		stored := wordsOf()
		open(t, dsn, nil).keep(t, "words", stored)
		for _, have := range []*words{w, stored} {
			if all := have.list(); !slices.Contains(all, fmt.Sprint("other", i)) || !slices.Contains(all, fmt.Sprint("mine", i)) {
				t.Errorf("the last writer has lost some: %q", all)
			}
		}
	}
}

func savesWhatChanged(t *testing.T, dsn string) {
	n := open(t, dsn, func(o *persist.Options) { o.Interval = 10 * time.Millisecond })
	w := wordsOf("a")
	n.keep(t, "words", w)
	w.add("b")
	eventually(t, "what was added is stored", func() bool {
		other := open(t, dsn, nil)
		defer other.end(t)
		have := wordsOf()
		other.keep(t, "words", have)
		return slices.Equal(have.list(), []string{"a", "b"})
	})
}

func equalNodesWriteOnce(t *testing.T, dsn string) {
	for range 5 {
		n := open(t, dsn, nil)
		n.keep(t, "words", wordsOf("a", "b"))
		n.end(t)
	}
	db := raw(t, dsn)
	var version int
	if err := db.QueryRow(`SELECT version FROM clusterchannel_state`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version != 1 {
		t.Errorf("the row was written %d times", version)
	}
}

// A state that can be taken apart still can once it is kept, whether it has a digest of
// its own or not; and equal nodes write it once.
func entriesAreKept(t *testing.T, dsn string) {
	for _, tt := range []struct {
		key  string
		wrap func(*words) backend.State
		can  bool
	}{
		{"apart", func(w *words) backend.State { return shelf{w} }, true},
		{"undigested", func(w *words) backend.State { return undigested{shelf{w}} }, true},
		{"whole", func(w *words) backend.State { return w }, false},
	} {
		for range 3 {
			n := open(t, dsn, nil)
			kept := n.keep(t, tt.key, tt.wrap(wordsOf("a", "b")))
			apart, can := kept.(backend.EntryState)
			if can != tt.can {
				t.Errorf("%s: to be taken apart: %v", tt.key, can)
			}
			if can {
				for id := range apart.EntryIDs() {
					b, err := apart.Entry(id)
					if err != nil || kept.Merge(b) != nil {
						t.Errorf("%s: entry %q: %v", tt.key, b, err)
					}
				}
			}
			n.end(t)
		}
	}
	rows, err := raw(t, dsn).Query(`SELECT version FROM clusterchannel_state`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	count := 0
	for ; rows.Next(); count++ {
		var version int
		if err := rows.Scan(&version); err != nil || version != 1 {
			t.Errorf("a row was written %d times: %v", version, err)
		}
	}
	if count != 3 || rows.Err() != nil {
		t.Errorf("%d rows, want 3: %v", count, rows.Err())
	}
}

func unusableRows(t *testing.T, dsn string) {
	damage := map[string]string{
		"corrupt":   `UPDATE clusterchannel_state SET checksum = 'x'`,
		"truncated": `UPDATE clusterchannel_state SET data = substr(data, 1, 3)`,
		"refused":   ``,
		"panics":    ``,
	}
	for name, statement := range damage {
		t.Run(name, func(t *testing.T) {
			in := func(o *persist.Options) { o.Cluster = name }
			n := open(t, dsn, in)
			var first backend.State = wordsOf("a")
			switch name {
			case "refused":
				first = blob("not json")
			case "panics":
				first = blob(`["panic"]`)
			}
			n.keep(t, "words", first)
			n.end(t)
			db := raw(t, dsn)
			if statement != "" {
				if _, err := db.Exec(statement + ` WHERE cluster_name = '` + name + `'`); err != nil {
					t.Fatal(err)
				}
			}
			n = open(t, dsn, in)
			w := wordsOf("b")
			n.keep(t, "words", w)
			expect(t, w, "b")
			if got := n.count(t, "clusterchannel_persist_rejected_total"); got != 1 {
				t.Errorf("rejected: %v, want 1", got)
			}
			n.end(t)
			if !strings.Contains(n.text(), "clusterchannel_rejected") || !strings.Contains(n.text(), "words") {
				t.Errorf("the log does not name the row: %s", n.text())
			}
			var kept int
			if err := db.QueryRow(`SELECT COUNT(*) FROM clusterchannel_rejected WHERE cluster_name = '` + name + `'`).Scan(&kept); err != nil || kept != 1 {
				t.Errorf("%d rows kept aside, %v", kept, err)
			}
			w = wordsOf()
			open(t, dsn, in).keep(t, "words", w)
			expect(t, w, "b")
		})
	}
}

// A row of a later version is neither read nor replaced, and is used again by a
// program that knows it.
func laterRow(t *testing.T, dsn string) {
	n := open(t, dsn, nil)
	n.keep(t, "words", wordsOf("a"))
	n.end(t)
	execAll(t, dsn, `UPDATE clusterchannel_state SET format = 99`)
	n = open(t, dsn, nil)
	w := wordsOf("b")
	n.keep(t, "words", w)
	expect(t, w, "b")
	examine(t, dsn).Say(t, "tables", driver.Fail, `"words" of cluster "alerts"`, "update")
	leftAsItIs(t, n)
	execAll(t, dsn, `UPDATE clusterchannel_state SET format = 1`)
	n = open(t, dsn, nil)
	n.keep(t, "words", w)
	expect(t, w, "a", "b")
	n.end(t)
}

// So is one whose content this node has had, when a later version took over.
func laterRowMeanwhile(t *testing.T, dsn string) {
	n := open(t, dsn, nil)
	w := wordsOf("a")
	n.keep(t, "words", w)
	execAll(t, dsn, `UPDATE clusterchannel_state SET format = 99`)
	w.add("b")
	leftAsItIs(t, n)
	execAll(t, dsn, `UPDATE clusterchannel_state SET format = 1`)
	w = wordsOf()
	open(t, dsn, nil).keep(t, "words", w)
	expect(t, w, "a")
}

// leftAsItIs checks that a node does not save to a row of format 99, and says so.
func leftAsItIs(t *testing.T, n *node) {
	t.Helper()
	err := n.Close(t.Context())
	for _, word := range []string{"words", "later version", "99", "update this program", "left as it is"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("Close says %v, want %q", err, word)
		}
	}
	if !strings.Contains(n.text(), "later version") || n.count(t, "clusterchannel_persist_rejected_total") != 0 {
		t.Errorf("it is rejected, or not named: %s", n.text())
	}
}

func emptyState(t *testing.T, dsn string) {
	n := open(t, dsn, nil)
	n.keep(t, "words", blob(""))
	n.end(t)
	if n.count(t, "clusterchannel_persist_failures_total") != 0 || n.text() != "" {
		t.Errorf("an empty state is not saved: %s", n.text())
	}
}

// blob is a state that marshals to anything.
type blob string

func (b blob) MarshalBinary() ([]byte, error) {
	if b == "" {
		return nil, nil
	}
	return []byte(b), nil
}

func (b blob) Merge([]byte) error { return nil }

func laterSchema(t *testing.T, dsn string) {
	n := open(t, dsn, nil)
	n.keep(t, "words", wordsOf("a"))
	n.end(t)
	if _, err := raw(t, dsn).Exec(`UPDATE clusterchannel_schema SET version = 99`); err != nil {
		t.Fatal(err)
	}
	n = open(t, dsn, nil)
	w := wordsOf("b")
	n.keep(t, "words", w)
	expect(t, w, "b")
	if err := n.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "later version") {
		t.Errorf("Close: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	for dsn, want := range map[string]string{
		"":                                    "not a URL",
		"nothing":                             "not a URL",
		"oracle://h/d":                        `"oracle" is unknown; known are sqlite, postgres and mysql`,
		"sqlite:":                             "not a URL",
		"sqlite:a?b":                          "takes a path",
		"sqlite::memory:":                     "in memory keeps nothing",
		"sqlite://:memory:":                   "in memory keeps nothing",
		"postgres://u:s3cret@h:port/d":        "dsn",
		"mysql://u:s3cret@h":                  "name of a database",
		"mysql://u:s3cret@h/d?timeout=s3cret": "dsn",
		"mysql://u:s3cret@h:x/d":              "not shown",
	} {
		_, err := persist.Open(persist.Options{DSN: dsn})
		if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want ErrConfig with %q", dsn, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "u:s3cret") {
			t.Errorf("%q: the error shows the password: %v", dsn, err)
		}
	}
	if _, err := persist.Open(persist.Options{DSN: "sqlite:x", Interval: -1}); !errors.Is(err, backend.ErrConfig) {
		t.Errorf("a negative interval: %v", err)
	}
	n := open(t, sqliteFile(t), nil)
	n.keep(t, "words", wordsOf())
	for _, key := range []string{"", "words"} {
		if _, err := n.Keep(t.Context(), key, wordsOf()); !errors.Is(err, backend.ErrConfig) {
			t.Errorf("key %q: %v", key, err)
		}
	}
	n.end(t)
	if _, err := n.Keep(t.Context(), "more", wordsOf()); !errors.Is(err, backend.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if got, err := testutil.GatherAndCount(n.registry); got != 0 || err != nil {
		t.Errorf("%d series are left, %v", got, err)
	}
}

// raw opens the database beside the store.
func raw(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	scheme, rest, _ := strings.Cut(dsn, ":")
	name := map[string]string{"sqlite": "sqlite", "postgres": "pgx", "mysql": "mysql"}[scheme]
	source := rest
	switch scheme {
	case "postgres":
		source = dsn + "&default_query_exec_mode=exec" // a pooler keeps nothing that was prepared
	case "mysql":
		source = mysqlSource(t, dsn)
	}
	db, err := sql.Open(name, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
