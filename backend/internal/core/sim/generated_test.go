package sim

import (
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var generated = flag.String("generated", "", "change each operator of the core's packages, one at a time, if the change's name is of this pattern, and want the tests to notice nearly all")

// survivors lists what no test notices, each with the reason.
const survivors = "testdata/survivors"

// changed are the core's packages: the machine, and the arithmetic of heartbeats that it
// is built on.
var changed = []string{"..", "../../../driver/heartbeat"}

// noticers are the tests of these packages, the fastest first.
var noticers = []noticer{
	{name: "heartbeat", dir: "../../../driver/heartbeat", run: "."},
	{name: "core", dir: "..", run: "."},
	{name: "sim", dir: ".", run: "^(TestScripts|TestSizes|TestSchedules)$", args: []string{"-noshrink"}},
}

type noticer struct {
	name, dir, run string
	args           []string
	program        string
	seconds        int // of a processor that it may take
}

// swaps are what becomes of an operator. Each is a mutant of its own.
var swaps = map[token.Token][]token.Token{
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL}, token.REM: {token.MUL},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR}, token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL}, token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.INC: {token.DEC}, token.DEC: {token.INC},
}

// TestGenerated changes the operators in the functions of the core's packages, and wants
// their own tests to notice nearly all. Tools that do the same compile a program for each
// change, and leave out the conditions of cases, which are most of what a machine
// decides. What does not end in time counts as unnoticed, and what is unnoticed is
// listed.
func TestGenerated(t *testing.T) {
	if *generated == "" {
		t.Skip("-generated is not given")
	}
	pattern := regexp.MustCompile(*generated)
	all := slices.DeleteFunc(generate(t), func(m *mutant) bool { return !pattern.MatchString(m.name) })
	dir := t.TempDir()
	overlay := mutate(t, dir, all)
	for i := range noticers {
		n := &noticers[i]
		n.program = filepath.Join(dir, n.name+".test")
		if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", n.program, n.dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		n.seconds = 60
		took, _, err := n.try(t, 0)
		if err != nil {
			t.Fatalf("%s fails without a change: %v", n.name, err)
		}
		n.seconds = 1 + int(10*took.Seconds())
	}
	known := readSurvivors(t)
	how := make([]string, len(all))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all); i = int(next.Add(1)) - 1 {
				how[i] = outcomeOf(t, i+1)
				name, listed := all[i].name, known[all[i].name] != ""
				switch {
				case how[i] != "" && !listed:
					t.Errorf("%s, and is not listed: %s", how[i], name)
				case how[i] == "" && listed: // such as what ends in time on this machine
					t.Logf("is listed, and noticed: %s", name)
				}
			}
		})
	}
	workers.Wait()
	killed, of := 0, map[string]int{}
	noticed := map[string]int{}
	for i, m := range all {
		file, _, _ := strings.Cut(m.name, " ")
		of[file]++
		if how[i] == "" {
			noticed[file]++
			killed++
		}
	}
	for _, file := range slices.Sorted(maps.Keys(of)) {
		t.Logf("%s: %d of %d", file, noticed[file], of[file])
	}
	if *generated == "." {
		holdShares(t, noticed, of)
	}
	t.Logf("%d of %d changes are noticed, %.1f %%", killed, len(all), 100*float64(killed)/float64(len(all)))
	if float64(killed) < 0.9*float64(len(all)) {
		t.Error("that is less than 90 %")
	}
}

// outcomeOf runs the tests with a change in the core. It returns nothing if one fails, or
// else what came of it.
func outcomeOf(t *testing.T, number int) (how string) {
	for _, n := range noticers {
		switch _, ended, err := n.try(t, number); {
		case !ended:
			return "does not end"
		case err != nil:
			return ""
		}
	}
	return "survives"
}

// try runs the tests with one change, for as long as they may take of a processor and of
// memory: on a machine that does other things too, the same changes do not end.
func (n *noticer) try(t *testing.T, number int) (took time.Duration, ended bool, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	limits := fmt.Sprintf(`ulimit -t %d; ulimit -v 4194304; exec "$0" "$@"`, n.seconds)
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", limits, n.program, "-test.failfast", "-test.run=" + n.run}, n.args...)...)
	cmd.Dir = n.dir
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", pickMutant, number), "GOMAXPROCS=1")
	err = cmd.Run()
	took = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return took, ctx.Err() == nil && took < time.Duration(n.seconds)*time.Second, err
}

// TestSurvivorsAreOfTheCore wants each line of the list to be of a change that there is,
// and to say why.
func TestSurvivorsAreOfTheCore(t *testing.T) {
	there := map[string]bool{}
	for _, m := range generate(t) {
		there[m.name] = true
	}
	for name := range readSurvivors(t) {
		if !there[name] {
			t.Errorf("%s: the core has changed: no such change: %s", survivors, name)
		}
	}
}

// holdShares holds docs/protocol.md to how many changes of which files are noticed.
func holdShares(t *testing.T, noticed, of map[string]int) {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## What holds the code to this\n")
	files := 0
	for line := range strings.Lines(table) {
		var said, part, whole int
		cells := strings.Split(line, " | ")
		if len(cells) != 3 {
			continue
		}
		if _, err := fmt.Sscanf(cells[2], "%d %%", &said); err != nil {
			continue
		}
		for _, file := range strings.Split(cells[1], ", ") {
			part, whole, files = part+noticed[file+".go"], whole+of[file+".go"], files+1
		}
		if got := 100 * float64(part) / float64(whole); got < float64(said) {
			t.Errorf("docs/protocol.md says %d %% of %s, and it is %.1f %%", said, cells[1], got)
		}
	}
	if files != len(of) {
		t.Errorf("docs/protocol.md names %d files, and %d have changes", files, len(of))
	}
}

// readSurvivors returns the reason for each that is listed: a line is a change, or, with
// a number sign, the reason for all that follow it.
func readSurvivors(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(survivors)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	var reason string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		after, isReason := strings.CutPrefix(line, "# ")
		switch {
		case line == "":
			reason = ""
		case isReason:
			reason = strings.TrimSpace(reason + " " + after)
		case reason == "":
			t.Fatalf("%s: no reason for %s", survivors, line)
		default:
			all[line] = reason
		}
	}
	return all
}

// generate returns a mutant for each operator in the functions of the core's packages.
func generate(t *testing.T) (all []*mutant) {
	t.Helper()
	for _, dir := range changed {
		fset := token.NewFileSet()
		var files []*ast.File
		texts := map[string]string{}
		paths, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(fset, path, text, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
			texts[path] = string(text)
		}
		// Only strings are to be told from what has a difference: what is imported may stay
		// unknown.
		info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
		config := types.Config{Error: func(error) {}}
		config.Check(dir, fset, files, &info)
		for _, file := range files {
			path := fset.Position(file.Pos()).Filename
			all = append(all, operators(fset, file, path, texts[path], &info)...)
		}
	}
	return all
}

// operators returns a mutant for each operator in the functions of a file. Its name is
// the file's, the function's, and what is changed there.
func operators(fset *token.FileSet, file *ast.File, path, text string, info *types.Info) (all []*mutant) {
	times := map[string]int{}
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		change := func(at token.Pos, op token.Token, whole ast.Node) {
			from := fset.Position(at).Offset
			for _, to := range swaps[op] {
				name := fmt.Sprintf("%s %s: %s with %s", filepath.Base(path), fn.Name.Name, span(fset, text, whole.Pos(), whole.End()), to)
				name = strings.Join(strings.Fields(name), " ")
				if times[name]++; times[name] > 1 {
					name += fmt.Sprintf(" (%d)", times[name])
				}
				all = append(all, &mutant{name: name, what: "generated", whole: map[string]string{path: text[:from] + to.String() + text[from+len(op.String()):]}})
			}
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if n.Op == token.ADD && isString(info.Types[n].Type) {
					break
				}
				change(n.OpPos, n.Op, n)
			case *ast.IncDecStmt:
				change(n.TokPos, n.Tok, n)
			case *ast.UnaryExpr:
				if n.Op == token.SUB {
					change(n.OpPos, n.Op, n)
				}
			}
			return true
		})
	}
	return all
}

func isString(t types.Type) bool {
	b, ok := t.(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}
