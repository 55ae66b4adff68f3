package persist_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/persist"
)

// lockable makes a directory, and a function that turns writing to it and to
// its files off and on: permissions do not stop root.
func lockable(t *testing.T) (dir string, write func(allowed bool)) {
	t.Helper()
	dir = t.TempDir()
	if os.Geteuid() != 0 {
		return dir, func(allowed bool) {
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range append(files, dir) {
				if err := os.Chmod(path, map[bool]os.FileMode{true: 0o755, false: 0o555}[allowed]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	disk(t, dir, "4m")
	return dir, func(allowed bool) {
		flags := uintptr(syscall.MS_REMOUNT)
		if !allowed {
			flags |= syscall.MS_RDONLY
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadOnlyDirectory starts a node on a database to which it may not write,
// left by a node that closed it, or by one that was killed.
func TestReadOnlyDirectory(t *testing.T) {
	for name, killed := range map[string]bool{"closed": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			before := t.TempDir()
			dsn := "sqlite:" + filepath.Join(before, "state.db")
			n := open(t, dsn, nil)
			n.keep(t, "words", wordsOf("first"))
			if killed { // while somebody reads, what is written last stays in the log beside the file
				execAll(t, dsn, `SELECT COUNT(*) FROM clusterchannel_state`)
			}
			n.keep(t, "more", wordsOf("last"))
			n.end(t)
			if log, err := os.Stat(filepath.Join(before, "state.db-wal")); (err == nil && log.Size() > 0) != killed {
				t.Fatalf("there is a log beside the file: %v, %v", log, err)
			}
			dir, write := lockable(t)
			if err := os.CopyFS(dir, os.DirFS(before)); err != nil {
				t.Fatal(err)
			}
			write(false)
			t.Cleanup(func() { write(true) })

			dsn = "sqlite:" + filepath.Join(dir, "state.db")
			examine(t, dsn).Say(t, "directory", driver.Fail, dir)
			n = open(t, dsn, func(o *persist.Options) { o.Interval = 20 * time.Millisecond })
			w, more := wordsOf("new"), wordsOf()
			n.keep(t, "words", w)
			n.keep(t, "more", more)
			expect(t, w, "first", "new")
			expect(t, more, "last")
			if log := n.text(); !strings.Contains(log, dir) || !strings.Contains(log, "let this node write") || n.count(t, "clusterchannel_persist_failures_total") == 0 {
				t.Errorf("the log does not say that nothing is saved, and what to do: %s", log)
			}
			write(true)
			eventually(t, "it is saved where it may be", func() bool { return strings.Contains(n.text(), "saved again") })
			n.end(t)
			w = wordsOf()
			open(t, dsn, nil).keep(t, "words", w)
			expect(t, w, "first", "new")
		})
	}
}

// TestReadOnlyAndEmpty has none there.
func TestReadOnlyAndEmpty(t *testing.T) {
	dir, write := lockable(t)
	write(false)
	t.Cleanup(func() { write(true) })
	n := open(t, "sqlite:"+filepath.Join(dir, "state.db"), func(o *persist.Options) { o.Interval = 20 * time.Millisecond })
	w := wordsOf("new")
	n.keep(t, "words", w)
	expect(t, w, "new")
	if log := n.text(); !strings.Contains(log, dir) || !strings.Contains(log, "be allowed to write there") {
		t.Errorf("the log does not tell: %s", log)
	}
	write(true)
	eventually(t, "it is saved where it may be", func() bool { return strings.Contains(n.text(), "saved again") })
	n.end(t)
}
