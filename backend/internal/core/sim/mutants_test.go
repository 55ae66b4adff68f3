package sim

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	onlyMutant = flag.String("mutant", "", "of them, this one alone; its killer's output is shown")
)

// mutant is one fault that can be put into the core. As text it is a comment that
// says what is wrong, the changes, and what finds it:
//
//	# An answer that ends closes every hole (findings 1.1).
//	file holes.go
//	---
//	old lines
//	+++
//	new lines
//	===
//	killed by script goodbye
//
// A mutant is killed by a script, by seeds (seeds 1 40: so many from there on),
// or by a test of the core (core TestName). It changes the bodies of functions
// alone: all mutants are compiled into one program, which is one of them by an
// environment variable.
type mutant struct {
	name    string
	what    string
	changes []change
	whole   map[string]string // or else the files as they become, by path
	killer  []string
}

type change struct{ file, from, to string }

// pickMutant is the variable that says which mutant a program is.
const pickMutant = "CORE_MUTANT"

// TestMutants puts faults into the core and wants each to be found.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles the core and the simulator with all mutants: not under the race detector")
	}
	all := readMutants(t)
	dir := t.TempDir()
	overlay := mutate(t, dir, all)
	programs := map[string]string{}
	for name, pkg := range map[string]string{"sim": ".", "core": ".."} {
		programs[name] = filepath.Join(dir, name+".test")
		if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", programs[name], pkg).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	sound := map[string]string{} // what each killer says of the core as it is
	for i, m := range all {
		if *onlyMutant != "" && *onlyMutant != m.name {
			continue
		}
		killer := strings.Join(m.killer, " ")
		if _, known := sound[killer]; !known {
			out, failed := m.run(t, programs, 0)
			if failed {
				t.Errorf("%s fails without a mutant:\n%s", killer, out)
			}
			sound[killer] = figures(out)
		}
		out, failed := m.run(t, programs, i+1)
		switch {
		case !failed:
			t.Errorf("%s survives %s: %s", m.name, killer, m.what)
		case *onlyMutant != "":
			t.Log(out)
		default:
			t.Logf("%s is killed by %s: %s", m.name, killer, reason(out))
			if was := figures(out); was != sound[killer] {
				t.Logf("  sound: %s; mutant: %s", sound[killer], was)
			}
		}
	}
}

// run runs what kills m. Mutant 0 is none.
func (m *mutant) run(t *testing.T, programs map[string]string, number int) (output string, failed bool) {
	t.Helper()
	program, args := programs["sim"], []string{"-test.v", "-test.timeout=5m"}
	switch m.killer[0] {
	case "script":
		args = append(args, "-test.run=^TestScripts$/^"+m.killer[1]+"$")
	case "seeds":
		args = append(args, "-test.run=^TestSchedules$", "-noshrink", "-seed="+m.killer[1], "-schedules="+m.killer[2])
	case "core":
		program = programs["core"]
		args = append(args, "-test.run=^"+m.killer[1]+"$")
	default:
		t.Fatalf("%s: no such killer: %s", m.name, m.killer[0])
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", pickMutant, number))
	if program == programs["core"] {
		cmd.Dir = ".."
	}
	out, err := cmd.CombinedOutput()
	return string(out), err != nil
}

// reason returns the line in which a killer says what it found.
func reason(out string) string {
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.Contains(line, "_test.go:") && strings.Contains(line, ": ") && !strings.Contains(line, " after the last fault") {
			_, text, _ := strings.Cut(line, ": ")
			if strings.Contains(text, "at ") || strings.Contains(text, "seed") {
				return text
			}
		}
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(strings.TrimSpace(line), "--- FAIL") {
			return strings.TrimSpace(line)
		}
	}
	return "it fails"
}

// figures returns the values that a scenario measured.
func figures(out string) string {
	var all []string
	for line := range strings.Lines(out) {
		if _, text, ok := strings.Cut(strings.TrimSpace(line), "figure "); ok {
			all = append(all, text)
		}
	}
	return strings.Join(all, ", ")
}

// readMutants reads testdata/mutants.
func readMutants(t *testing.T) []*mutant {
	t.Helper()
	files, err := filepath.Glob("testdata/mutants/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []*mutant
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseMutant(strings.TrimSuffix(filepath.Base(file), ".txt"), string(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, m)
	}
	return all
}

func parseMutant(name, text string) (*mutant, error) {
	m := &mutant{name: name}
	var c change
	var into *string
	for line := range strings.Lines(text) {
		trimmed := strings.TrimRight(line, "\n")
		words := strings.Fields(line)
		switch {
		case trimmed == "---":
			into = &c.from
		case trimmed == "+++":
			into = &c.to
		case trimmed == "===":
			m.changes = append(m.changes, c)
			c, into = change{file: c.file}, nil
		case into != nil:
			*into += line
		case len(words) == 0:
		case words[0] == "#":
			m.what = strings.TrimSpace(m.what + " " + strings.Join(words[1:], " "))
		case words[0] == "file":
			c.file = words[1]
		case len(words) > 2 && words[0] == "killed" && words[1] == "by":
			m.killer = words[2:]
		default:
			return nil, fmt.Errorf("what is %q?", trimmed)
		}
	}
	if m.what == "" || len(m.changes) == 0 || len(m.killer) < 2 {
		return nil, fmt.Errorf("it wants a comment, changes, and what kills it")
	}
	return m, nil
}

// mutate writes the core's files with all mutants in them, and returns the
// overlay that puts them in place of the real ones.
func mutate(t *testing.T, dir string, all []*mutant) string {
	t.Helper()
	files := map[string]*mutated{}
	file := func(path string) *mutated {
		if files[path] == nil {
			files[path] = readCore(t, path)
		}
		return files[path]
	}
	for i, m := range all {
		changed := maps.Clone(m.whole)
		if changed == nil {
			changed = map[string]string{}
		}
		for _, c := range m.changes {
			path := filepath.Join("..", c.file)
			text, ok := changed[path]
			if !ok {
				text = file(path).text
			}
			if strings.Count(text, c.from) != 1 {
				t.Fatalf("%s: its old text is in %s %d times, not once: the core has changed, and so must the mutant", m.name, c.file, strings.Count(text, c.from))
			}
			changed[path] = strings.Replace(text, c.from, c.to, 1)
		}
		for path, text := range changed {
			if err := file(path).add(i+1, text); err != nil {
				t.Fatalf("%s: %v", m.name, err)
			}
		}
	}
	replace := map[string]string{}
	put := func(path, text string) {
		to := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(to, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		replace[path] = to
	}
	pick := map[string]string{} // by directory, what says which mutant the program is
	for path, f := range files {
		put(path, f.String())
		pick[filepath.Dir(path)] = fmt.Sprintf("package %s\n\nimport (\n\t\"os\"\n\t\"strconv\"\n)\n\nvar mutant, _ = strconv.Atoi(os.Getenv(%q))\n", f.pkg, pickMutant)
	}
	for dir, text := range pick {
		put(filepath.Join(dir, "mutant.go"), text)
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// mutated is a file of the core with mutants in it: each changed function is
// there once more for each mutant, under a name of its own, and the function
// begins with a switch that goes there.
type mutated struct {
	text     string
	pkg      string
	fset     *token.FileSet
	funcs    map[string]*ast.FuncDecl
	switches map[string][]string // cases, by function
	extra    strings.Builder
}

func readCore(t *testing.T, path string) *mutated {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", b, parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	f := &mutated{text: string(b), pkg: file.Name.Name, switches: map[string][]string{}}
	if f.fset, f.funcs, err = functions(f.text); err != nil {
		t.Fatal(err)
	}
	return f
}

// functions returns the functions of a file, by their receiver's type and name.
func functions(text string) (*token.FileSet, map[string]*ast.FuncDecl, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	all := map[string]*ast.FuncDecl{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			name := f.Name.Name
			if f.Recv != nil {
				from, to := fset.Position(f.Recv.List[0].Type.Pos()).Offset, fset.Position(f.Recv.List[0].Type.End()).Offset
				name = text[from:to] + "." + name
			}
			all[name] = f
		}
	}
	return fset, all, nil
}

// span returns the text from the one position to the other.
func span(fset *token.FileSet, text string, from, to token.Pos) string {
	return text[fset.Position(from).Offset:fset.Position(to).Offset]
}

// add handles the file's text as a mutant has it.
func (f *mutated) add(number int, text string) error {
	fset, funcs, err := functions(text)
	if err != nil {
		return err
	}
	if len(funcs) != len(f.funcs) {
		return fmt.Errorf("it has other functions than the core")
	}
	changed := 0
	for name, fn := range funcs {
		old := f.funcs[name]
		if old == nil {
			return fmt.Errorf("the core has no %s", name)
		}
		body := span(fset, text, fn.Body.Pos(), fn.Body.End())
		if body == span(f.fset, f.text, old.Body.Pos(), old.Body.End()) {
			continue
		}
		changed++
		twin := fmt.Sprintf("%s_mutant%d", fn.Name.Name, number)
		head := span(fset, text, fn.Pos(), fn.Name.Pos())
		fmt.Fprintf(&f.extra, "\n%s%s%s%s\n", head[strings.LastIndex(head, "func"):], twin, span(fset, text, fn.Name.End(), fn.Body.Pos()), body)
		f.switches[name] = append(f.switches[name], fmt.Sprintf("case %d:\n%s\n", number, call(fn, twin, fset, text)))
	}
	if changed == 0 {
		return fmt.Errorf("it changes nothing, or more than the bodies of functions, in a file")
	}
	return nil
}

// call returns the statement by which fn hands over to its twin.
func call(fn *ast.FuncDecl, twin string, fset *token.FileSet, text string) string {
	var args []string
	for _, field := range fn.Type.Params.List {
		if len(field.Names) == 0 { // it is not used
			args = append(args, "*new("+span(fset, text, field.Type.Pos(), field.Type.End())+")")
		}
		for _, name := range field.Names {
			arg := name.Name
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				arg += "..."
			}
			args = append(args, arg)
		}
	}
	if fn.Recv != nil {
		twin = fn.Recv.List[0].Names[0].Name + "." + twin
	}
	line := fmt.Sprintf("%s(%s)", twin, strings.Join(args, ", "))
	if fn.Type.Results == nil {
		return line + "\nreturn"
	}
	return "return " + line
}

// String returns the file with its mutants.
func (f *mutated) String() string {
	type insert struct {
		at   int
		text string
	}
	var inserts []insert
	for name, cases := range f.switches {
		slices.Sort(cases)
		at := f.fset.Position(f.funcs[name].Body.Lbrace).Offset + 1
		inserts = append(inserts, insert{at, "\nswitch mutant {\n" + strings.Join(cases, "") + "}\n"})
	}
	slices.SortFunc(inserts, func(a, b insert) int { return a.at - b.at })
	var b bytes.Buffer
	last := 0
	for _, in := range inserts {
		b.WriteString(f.text[last:in.at])
		b.WriteString(in.text)
		last = in.at
	}
	b.WriteString(f.text[last:])
	b.WriteString(f.extra.String())
	return b.String()
}
