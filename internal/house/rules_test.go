package house

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// imports returns the paths that s imports.
func (s source) imports(t *testing.T) []string {
	t.Helper()
	paths := make([]string, len(s.file.Imports))
	for i, spec := range s.file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths[i] = path
	}
	return paths
}

// layer is the place of a directory in the order of imports, lowest first.
func layer(dir string) int {
	layers := []string{"internal,statefile", "backend/driver", "backend/internal", "backend/params,backend/doctor", "backend", "replicated", "backends,persist,status,scheduler,once", "conformance,alertmanager,examples,statetest", "cmd,tests,tools", "bench"}
	if strings.HasPrefix(dir, "examples/") && strings.HasSuffix(dir, "/cmd") {
		return len(layers) // a program on the command
	}
	for i, prefix := range layers {
		for p := range strings.SplitSeq(prefix, ",") {
			if dir == p || strings.HasPrefix(dir, p+"/") {
				return i
			}
		}
	}
	return -1
}

// top is the part of dir within which packages may import each other.
func top(dir string) string {
	first, rest, _ := strings.Cut(dir, "/")
	if first == "backends" {
		second, _, _ := strings.Cut(rest, "/")
		return first + "/" + second
	}
	return first
}

func TestImportsRunDownwards(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.dir, "conformance/consumer") {
			continue
		}
		from := layer(s.dir)
		if from < 0 {
			t.Errorf("%s: its directory has no place in the order of imports", s.path)
		}
		for _, path := range s.imports(t) {
			dir, ours := strings.CutPrefix(path, module+"/")
			if !ours {
				continue
			}
			to := layer(dir)
			switch {
			case to < from:
			case s.dir == "backends/all" && strings.HasPrefix(dir, "backends/"):
			case to == from && top(dir) == top(s.dir):
			default:
				t.Errorf("%s imports %s, which is above or beside it", s.path, dir)
			}
		}
	}
}

func TestNoTestingOutsideTests(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.dir == "conformance" || strings.HasPrefix(s.dir, "conformance/") || s.dir == "statetest" {
			continue
		}
		for _, path := range s.imports(t) {
			suite := path == module+"/statetest" || path == module+"/conformance" || strings.HasPrefix(path, module+"/conformance/")
			if s.dir == "cmd/command" { // which runs the suite as a command
				suite = false
			}
			if path == "testing" || strings.HasPrefix(path, "testing/") || suite {
				t.Errorf("%s imports %s", s.path, path)
			}
		}
	}
}

func TestNoSleep(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
				t.Errorf("%s:%d: time.Sleep: wait for what is awaited", s.path, s.line(n))
			}
			return true
		})
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	packages := map[string]bool{} // by directory: has a package comment
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		packages[s.dir] = packages[s.dir] || s.file.Doc.Text() != ""
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc.Text() == "" && receiverIsExported(d) {
					t.Errorf("%s:%d: %s has no doc comment", s.path, s.line(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					undocumented(t, s, d, spec)
				}
			}
		}
	}
	for dir, documented := range packages {
		if !documented {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func receiverIsExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

// undocumented reports exported names of spec without a comment: their own, one
// at the end of the line, or that of decl where it is of one thing or of values.
func undocumented(t *testing.T, s source, decl *ast.GenDecl, spec ast.Spec) {
	t.Helper()
	group := ""
	if !decl.Lparen.IsValid() || decl.Tok != token.TYPE {
		group = decl.Doc.Text()
	}
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && spec.Doc.Text()+spec.Comment.Text()+group == "" {
			t.Errorf("%s:%d: %s has no doc comment", s.path, s.line(spec), spec.Name.Name)
		}
		if i, ok := spec.Type.(*ast.InterfaceType); ok && spec.Name.IsExported() {
			for _, m := range i.Methods.List {
				if len(m.Names) > 0 && m.Doc.Text()+m.Comment.Text() == "" && len(i.Methods.List) > 1 {
					t.Errorf("%s:%d: %s.%s has no doc comment", s.path, s.line(m), spec.Name.Name, m.Names[0].Name)
				}
			}
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			if name.IsExported() && spec.Doc.Text()+spec.Comment.Text()+group == "" {
				t.Errorf("%s:%d: %s has no doc comment", s.path, s.line(name), name.Name)
			}
		}
	}
}
