package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLintSeesNestedModules breaks a nested module in a copy of the repository,
// in each of the ways that make lint is to find.
func TestLintSeesNestedModules(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
	const nested = "conformance/consumer"
	copied := copyRepository(t)
	spoiled := filepath.Join(copied, nested, "spoiled.go")
	for _, spoil := range []struct{ name, text, finds string }{
		{"sound", "", ""},
		{"not formatted", "package relay\nfunc  spoiled() {}\n", "not formatted"},
		{"vet", "package relay\n\nimport \"fmt\"\n\nfunc spoiled() { fmt.Printf(\"%d\", \"\") }\n", "Printf"},
		{"not tidy", "package relay\n\nimport _ \"golang.org/x/time/rate\"\n", "golang.org/x/time"},
	} {
		t.Run(spoil.name, func(t *testing.T) {
			if spoil.text != "" {
				if err := os.WriteFile(spoiled, []byte(spoil.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			lint := exec.Command("make", "-C", copied, "format", "tidy", "vet", "MODULES="+nested, "PACKAGES=./"+nested+"/...")
			lint.Env = append(os.Environ(), "GOFLAGS=-trimpath") // what was compiled in another directory is not again
			out, err := lint.CombinedOutput()
			if spoil.text == "" && err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if spoil.text != "" && (err == nil || !strings.Contains(string(out), spoil.finds)) {
				t.Errorf("%v, want a failure that says %q:\n%s", err, spoil.finds, out)
			}
		})
	}
	plan, err := exec.Command("make", "-n", "-C", root, "lint").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dir := range modules(t) {
		if dir != "." && !strings.Contains(string(plan), " ./"+dir+" ") && !strings.Contains(string(plan), " ./"+dir+";") {
			t.Errorf("make lint does not look at the module %s", dir)
		}
	}
}

// copyRepository copies all but the hidden files, among which is the history.
func copyRepository(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, "."):
		case e.IsDir():
			if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
				t.Fatal(err)
			}
		default:
			if err := os.WriteFile(filepath.Join(dir, name), []byte(read(t, name)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}
