package house

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWhatWasFoundIsHeld wants each test that docs/regressions.md names to exist.
func TestWhatWasFoundIsHeld(t *testing.T) {
	for _, heading := range []string{"Honest conditions", "Hostile frames", "Drivers", "Found by playing the scenarios with real nodes", "The application beside Alertmanager"} {
		for _, row := range table(t, read(t, "docs/regressions.md"), heading) {
			kind, names := heldBy(row[len(row)-1])
			if len(names) == 0 {
				t.Errorf("%s: no test is named", row[0])
			}
			for _, name := range names {
				if kind == "scenario" {
					read(t, filepath.Join("backend/internal/core/sim/testdata", name+".txt"))
				} else if !hasTest(t, kind, name) {
					t.Errorf("%s: there is no test %s in %s", row[0], name, kind)
				}
			}
		}
	}
}

// heldBy returns what a cell names: scenarios, or tests of a directory.
func heldBy(cell string) (kind string, names []string) {
	words := strings.Fields(strings.ReplaceAll(cell, ",", " "))
	names = slices.DeleteFunc(words[1:], func(word string) bool { return word == "and" })
	return strings.Replace(words[0], "scenarios", "scenario", 1), names
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
