package house

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// registered returns the names under which backends register themselves.
func registered(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, s := range sources(t) {
		if s.test || !strings.HasPrefix(s.dir, "backends/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "Register" {
				return true
			}
			if name, ok := call.Args[0].(*ast.BasicLit); ok {
				names = append(names, strings.Trim(name.Value, `"`))
			}
			return true
		})
	}
	if len(names) < 5 {
		t.Fatalf("%q are registered: that cannot be all", names)
	}
	return names
}

// knowsBackends reports whether a directory may name backends: those that say
// nothing of them in general, and the reader of Grafana's ini, whose keys do.
func knowsBackends(dir string) bool {
	first, rest, _ := strings.Cut(dir, "/")
	switch {
	case path.Base(dir) == "grafanaini":
		return true
	case first == "conformance":
		return strings.HasPrefix(rest, "servers")
	}
	return first != "backend" && first != "status" && first != "alertmanager" && first != "cmd"
}

// TestBackendsAreNotNamed holds what works with any registered backend to its
// description: such code names none in a text, but for one constant, the default,
// and imports none, but for all of them.
func TestBackendsAreNotNamed(t *testing.T) {
	named := regexp.MustCompile(`\b(` + strings.Join(registered(t), "|") + `)\b`)
	var defaults []string
	for _, s := range sources(t) {
		if s.test || knowsBackends(s.dir) {
			continue
		}
		for _, imported := range s.imports(t) {
			if name, ok := strings.CutPrefix(imported, module+"/backends/"); ok && name != "all" {
				t.Errorf("%s imports backends/%s", s.path, name)
			}
		}
		constants := constantsOf(s.file)
		ast.Inspect(s.file, func(n ast.Node) bool {
			if _, ok := n.(*ast.ImportSpec); ok {
				return false
			}
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			switch name := named.FindString(text); {
			case name == "", name == "memory" && text != name: // in a sentence it is the word
			case name == text && constants[lit]:
				defaults = append(defaults, s.path)
			default:
				t.Errorf("%s:%d names the backend %s: have its description say what is meant", s.path, s.line(lit), name)
			}
			return true
		})
	}
	if len(defaults) != 1 {
		t.Errorf("constants in %q name a backend, want one: the default", defaults)
	}
}

// constantsOf returns the literals that are constants of the file.
func constantsOf(file *ast.File) map[*ast.BasicLit]bool {
	found := map[*ast.BasicLit]bool{}
	for _, decl := range file.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.CONST {
			continue
		}
		for _, spec := range d.Specs {
			for _, value := range spec.(*ast.ValueSpec).Values {
				if lit, ok := value.(*ast.BasicLit); ok {
					found[lit] = true
				}
			}
		}
	}
	return found
}
