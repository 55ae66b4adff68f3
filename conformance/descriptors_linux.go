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

// captureOutput collects all that the process writes to descriptors 1 and 2 until
// restore is called.
func captureOutput(t testing.TB) (text func() string, restore func()) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	saved := map[int]int{}
	for _, fd := range []int{syscall.Stdout, syscall.Stderr} {
		old, err := syscall.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Dup3(int(file.Fd()), fd, 0); err != nil {
			t.Fatal(err)
		}
		saved[fd] = old
	}
	restored := false
	restore = func() {
		if restored {
			return
		}
		restored = true
		for fd, old := range saved {
			if err := syscall.Dup3(old, fd, 0); err != nil {
				t.Errorf("restore descriptor %d: %v", fd, err)
			}
			_ = syscall.Close(old)
		}
		_ = file.Close()
	}
	return func() string {
		b, err := os.ReadFile(file.Name())
		if err != nil {
			t.Errorf("read what was written: %v", err)
		}
		return string(b)
	}, restore
}
