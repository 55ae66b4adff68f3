package persist_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/persist"
)

// mountFUSE mounts a directory whose files are those of dir, by a program that knows no
// locks.
func mountFUSE(t *testing.T, dir string) (mounted string) {
	t.Helper()
	root, err := fs.NewLoopbackRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	mounted = t.TempDir()
	server, err := fs.Mount(mounted, root, &fs.Options{MountOptions: fuse.MountOptions{FsName: "clusterchannel-test", DirectMount: true}})
	if err != nil {
		t.Skipf("no file system of our own can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return mounted
}

// On a file system whose locks may not hold, the node and the doctor say so; what is
// saved through one mount is whole on the disk, and through another mount.
func TestFUSE(t *testing.T) {
	disk := t.TempDir()
	first, second := mountFUSE(t, disk), mountFUSE(t, disk)
	dsn := "sqlite:" + filepath.Join(first, "state.db")
	n := open(t, dsn, nil)
	n.keep(t, "words", wordsOf("first"))
	if log := n.text(); !strings.Contains(log, "locks may not hold") || !strings.Contains(log, "FUSE") || strings.Contains(log, "ERROR") {
		t.Errorf("the log says %s", log)
	}
	examine(t, dsn).Say(t, "file system", driver.Warn, "FUSE", "one file a node")

	// Another node through the other mount, while the first still runs.
	other := open(t, "sqlite:"+filepath.Join(second, "state.db"), func(o *persist.Options) { o.Node = "node-2" })
	w := wordsOf("second")
	other.keep(t, "words", w)
	expect(t, w, "first", "second")
	other.end(t)
	n.end(t)
	if logs, err := filepath.Glob(filepath.Join(disk, "state.db-*")); err != nil || len(logs) > 0 {
		t.Errorf("beside the file are %q, %v: it is not whole by itself", logs, err)
	}
	w = wordsOf()
	open(t, "sqlite:"+filepath.Join(disk, "state.db"), func(o *persist.Options) { o.Interval = time.Hour }).keep(t, "words", w)
	expect(t, w, "first", "second")
}
