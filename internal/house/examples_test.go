package house

import (
	"go/ast"
	"go/doc"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// withoutExample are the public packages that have no runnable example, and why.
var withoutExample = map[string]string{
	"cmd/command":                   "its only function does not return",
	"conformance/servers":           "it needs a container engine, or servers on this machine",
	"conformance/servers/container": "it needs a container engine",
	"conformance/servers/process":   "it needs a *testing.T",
	"conformance/testca":            "it needs a *testing.T",
	"conformance/testkit":           "it needs a *testing.T",
	"statetest":                     "it needs a *testing.T",
}

// TestPublicPackagesHaveARunnableExample wants each package that others import to
// show how it is used, by an example that go test runs.
func TestPublicPackagesHaveARunnableExample(t *testing.T) {
	runnable := map[string]bool{} // by directory
	for _, s := range sources(t) {
		if !public(s) {
			continue
		}
		if !s.test {
			runnable[s.dir] = runnable[s.dir] || false
			continue
		}
		for _, e := range doc.Examples([]*ast.File{s.file}...) {
			runnable[s.dir] = runnable[s.dir] || e.Output != "" || e.EmptyOutput
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(runnable)) {
		switch reason := withoutExample[dir]; {
		case runnable[dir] && reason != "":
			t.Errorf("%s has an example: take it off the list of those without", dir)
		case !runnable[dir] && reason == "":
			t.Errorf("%s has no runnable example: add one to example_test.go", dir)
		}
	}
}

// public reports whether s belongs to a package that other modules may import.
func public(s source) bool {
	for _, dir := range []string{"bench", "conformance/consumer", "deploy", "examples", "tests", "tools"} {
		if s.dir == dir || strings.HasPrefix(s.dir, dir+"/") {
			return false
		}
	}
	for dir := s.dir; dir != "."; dir = path.Dir(dir) {
		if path.Base(dir) == "internal" {
			return false
		}
	}
	return s.file.Name.Name != "main" && s.file.Name.Name != "main_test" && s.dir != "."
}
