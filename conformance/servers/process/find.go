package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Cache is the directory in which conformance/images/build leaves the binaries
// that no package of the system has.
func Cache() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "clusterchannel", "bin")
}

// Find returns the path of a program: from PATH, from the directories of
// programs for administrators and of PostgreSQL's, which PATH often lacks, or
// from [Cache].
func Find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range append(dirs, "/usr/local/sbin", "/usr/sbin", "/sbin", Cache()) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s in PATH or %s: run .ci/install and conformance/images/build --binaries", name, Cache())
}

// Need returns what Find does. Without the program the test is skipped, or fails
// where the environment variable CLUSTERCHANNEL_SERVERS is "required".
func Need(t testing.TB, name string) string {
	t.Helper()
	path, err := Find(name)
	switch {
	case err == nil:
	case os.Getenv("CLUSTERCHANNEL_SERVERS") == "required":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return path
}
