package house

import (
	"flag"
	"fmt"
	"go/doc"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated part of docs/architecture.md")

const (
	architecture   = "docs/architecture.md"
	generatedBegin = "<!-- generated: go test ./internal/house -run Architecture -update -->\n"
	generatedEnd   = "<!-- end -->\n"
)

// floors name the groups of the picture, from the top to the bottom, by the first
// directories of a package's path.
var floors = []struct {
	title string
	dirs  []string
}{
	{"The application", []string{"cmd", "alertmanager", "scheduler", "persist"}},
	{"The suites of tests", []string{"conformance", "statetest"}},
	{"Backends", []string{"backends"}},
	{"The library", []string{"backend", "once", "replicated", "status", "statefile"}},
	{"Inside", []string{"internal"}},
}

// TestArchitecture holds the picture and the list of packages in
// docs/architecture.md to the code. With -update it writes them.
func TestArchitecture(t *testing.T) {
	text := read(t, architecture)
	before, rest, begins := strings.Cut(text, generatedBegin)
	_, after, ends := strings.Cut(rest, generatedEnd)
	if !begins || !ends {
		t.Fatalf("%s has no generated part, between %q and %q", architecture, generatedBegin, generatedEnd)
	}
	want := before + generatedBegin + describePackages(t) + generatedEnd + after
	switch {
	case text == want:
	case *update:
		if err := os.WriteFile(filepath.Join(root, architecture), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not show the packages as they are: run go test ./internal/house -run Architecture -update", architecture)
	}
}

// describePackages returns a picture of the packages and their imports, and a
// list of what each is for.
func describePackages(t *testing.T) string {
	imports, synopses := map[string]map[string]bool{}, map[string]string{}
	for _, s := range sources(t) {
		if s.test || !isShown(s.dir) {
			continue
		}
		if floorOf(s.dir) < 0 {
			t.Errorf("%s is on no floor of the picture", s.dir)
		}
		if imports[s.dir] == nil {
			imports[s.dir] = map[string]bool{}
		}
		for _, path := range s.imports(t) {
			if dir, ours := strings.CutPrefix(path, module+"/"); ours {
				imports[s.dir][dir] = true
			}
		}
		if s.file.Doc != nil {
			synopses[s.dir] = new(doc.Package).Synopsis(s.file.Doc.Text())
		}
	}
	dirs := slices.Sorted(maps.Keys(imports))

	var b strings.Builder
	b.WriteString("\n```mermaid\nflowchart TD\n")
	for i, floor := range floors {
		fmt.Fprintf(&b, "  subgraph floor%d [%s]\n", i, floor.title)
		for _, dir := range dirs {
			if floorOf(dir) == i {
				fmt.Fprintf(&b, "    %s[%s]\n", nodeID(dir), dir)
			}
		}
		b.WriteString("  end\n")
	}
	for _, from := range dirs {
		for _, to := range direct(imports, from) {
			fmt.Fprintf(&b, "  %s --> %s\n", nodeID(from), nodeID(to))
		}
	}
	b.WriteString("```\n\n| package | what it is |\n|---|---|\n")
	for i := range floors {
		for _, dir := range dirs {
			if floorOf(dir) == i {
				fmt.Fprintf(&b, "| [`%s`](../%s) | %s |\n", dir, dir, description(synopses[dir]))
			}
		}
	}
	b.WriteString("\n")
	return b.String()
}

// isShown reports whether a package is of the library or the application.
func isShown(dir string) bool {
	first, _, _ := strings.Cut(dir, "/")
	return dir != "internal/house" && dir != "conformance/consumer" && !slices.Contains([]string{"bench", "deploy", "examples", "tests", "tools"}, first)
}

// floorOf returns the floor of a package, or less than 0 if it has none.
func floorOf(dir string) int {
	first, _, _ := strings.Cut(dir, "/")
	for i, floor := range floors {
		if slices.Contains(floor.dirs, first) {
			return i
		}
	}
	return -1
}

// direct returns what a package imports and reaches by no longer way.
func direct(imports map[string]map[string]bool, from string) []string {
	further := map[string]bool{} // reached by two steps or more
	var walk func(dir string)
	walk = func(dir string) {
		for next := range imports[dir] {
			if !further[next] {
				further[next] = true
				walk(next)
			}
		}
	}
	for dir := range imports[from] {
		walk(dir)
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(imports[from])), func(to string) bool { return further[to] })
}

func nodeID(dir string) string { return strings.NewReplacer("/", "_", "-", "_").Replace(dir) }

// description is a synopsis without "Package x", for a cell of a table.
func description(synopsis string) string {
	words := strings.Fields(synopsis)
	if len(words) > 2 && (words[0] == "Package" || words[0] == "Command") && !strings.HasSuffix(words[1], ".") {
		words = words[2:]
	}
	return strings.TrimRight(strings.Join(words, " "), ".:")
}
