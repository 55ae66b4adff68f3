package persist_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/persist"
)

// disk mounts a disk of that size at dir.
func disk(t *testing.T, dir, size string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no disk of our own can be had: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

// TestFull fills the disk for good.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	disk(t, dir, "256k")
	path, filler := filepath.Join(dir, "state.db"), filepath.Join(dir, "filler")
	n := open(t, "sqlite:"+path, func(o *persist.Options) { o.Interval = 20 * time.Millisecond })
	w := wordsOf("before")
	n.keep(t, "words", w)
	if err := os.WriteFile(filler, make([]byte, 256<<10), 0o600); err == nil {
		t.Fatal("the disk does not fill up")
	}
	big := strings.Repeat("x", 64<<10)
	w.add(big)
	eventually(t, "a full disk is counted", func() bool { return n.count(t, "clusterchannel_persist_failures_total") > 0 })
	if log := n.text(); !strings.Contains(log, "disk") || !strings.Contains(log, path) {
		t.Errorf("the log does not tell: %s", log)
	}
	_ = n.Close(t.Context()) // there is no room
	rest := filepath.Join(dir, "rest")
	if err := os.WriteFile(rest, make([]byte, 256<<10), 0o600); err == nil { // of what its attempts to save have left
		t.Fatal("the disk does not fill up")
	}
	examine(t, "sqlite:"+path).Say(t, "directory", driver.Fail, "no space left", "df -h "+dir)
	n = open(t, "sqlite:"+path, func(o *persist.Options) { o.Interval = 20 * time.Millisecond })
	w = wordsOf(big)
	n.keep(t, "words", w)
	expect(t, w, "before", big) // what was saved last is loaded
	if log := n.text(); !strings.Contains(log, "make room") {
		t.Errorf("the log does not tell what to do: %s", log)
	}
	if err := errors.Join(os.Remove(filler), os.Remove(rest)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is saved when there is room", func() bool { return strings.Contains(n.text(), "saved again") })
	n.end(t)
	w = wordsOf()
	open(t, "sqlite:"+path, nil).keep(t, "words", w)
	expect(t, w, "before", big)
}
