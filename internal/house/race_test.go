package house

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSerialPackagesAreOneGoroutine: what make race leaves out as one goroutine starts no
// other and shares nothing, and neither does what it imports of ours.
func TestSerialPackagesAreOneGoroutine(t *testing.T) {
	list := regexp.MustCompile(`(?m)^SERIAL +:= (.+)$`).FindStringSubmatch(read(t, "Makefile"))
	if list == nil {
		t.Fatal("the Makefile has no SERIAL")
	}
	serial := strings.Fields(list[1])
	all := sources(t)
	for i := 0; i < len(serial); i++ { // it grows
		found := false
		for _, s := range all {
			if s.dir != serial[i] || s.test {
				continue
			}
			found = true
			for _, path := range s.imports(t) {
				if path == "sync" || path == "sync/atomic" {
					t.Errorf("%s imports %s", s.path, path)
				}
				if dir, ours := strings.CutPrefix(path, module+"/"); ours && !slices.Contains(serial, dir) {
					serial = append(serial, dir)
				}
			}
			ast.Inspect(s.file, func(n ast.Node) bool {
				if _, ok := n.(*ast.GoStmt); ok {
					t.Errorf("%s:%d: a goroutine", s.path, s.line(n))
				}
				return true
			})
		}
		if !found {
			t.Errorf("there is no package %s", serial[i])
		}
	}
}
