package house

import (
	"go/ast"
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance"
)

// TestLimitsAreHeld wants each cell of the limits in docs/backends.md to name, in
// the second table, tests or checks that there are.
func TestLimitsAreHeld(t *testing.T) {
	tests := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				tests[s.dir+"."+f.Name.Name] = true
			}
		}
	}
	for _, c := range conformance.Checks() {
		tests[c.Name] = true
	}
	page := read(t, "docs/backends.md")
	limits, held := table(t, page, "Limits"), table(t, page, "What holds them")
	if len(limits) != len(held) {
		t.Fatalf("there are %d limits, and %d rows of what holds them", len(limits), len(held))
	}
	for i, row := range limits {
		if held[i][0] != row[0] || slices.Contains(row[1:], "") {
			t.Errorf("row %d is %q, and %q is held; all cells are wanted", i, row, held[i][0])
		}
		for j, cell := range held[i][1:] {
			names := strings.Fields(cell)
			if len(names) == 0 {
				t.Errorf("%s, column %d: nothing holds it", row[0], j+1)
			}
			for _, name := range names {
				if !tests[name] {
					t.Errorf("%s, column %d: there is no %s", row[0], j+1, name)
				}
			}
		}
	}
}
