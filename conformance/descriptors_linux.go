package conformance

import (
	"os"
	"syscall"
	"testing"
)

// descriptors returns how many file descriptors the process holds.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// captureStderr collects all that the process writes to descriptor 2 until
// restore is called.
func captureStderr(t testing.TB) (text func() string, restore func()) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	old, err := syscall.Dup(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Dup3(int(file.Fd()), 2, 0); err != nil {
		t.Fatal(err)
	}
	restored := false
	restore = func() {
		if restored {
			return
		}
		restored = true
		if err := syscall.Dup3(old, 2, 0); err != nil {
			t.Errorf("restore stderr: %v", err)
		}
		_ = syscall.Close(old)
		_ = file.Close()
	}
	return func() string {
		b, err := os.ReadFile(file.Name())
		if err != nil {
			t.Errorf("read what was written to stderr: %v", err)
		}
		return string(b)
	}, restore
}
