package sim

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var playOpen = flag.Bool("open", false, "play the scenarios of testdata/open too: what the core does not keep yet")

var transcript = flag.Bool("transcript", false, "print what happens in the scenarios that -run names")

// read returns the scenario of a file.
func read(t *testing.T, path string) *Scenario {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return s
}

// report tells of a failure all that is needed to see it again.
func report(t *testing.T, s *Scenario, r *Result) {
	t.Helper()
	again := Run(s, Look{Trace: true})
	lines := strings.SplitAfter(again.Trace, "\n")
	if len(lines) > 400 {
		lines = append([]string{"...\n"}, lines[len(lines)-400:]...)
	}
	t.Errorf("%v\n\n%s\n%s", r.Failure, s, strings.Join(lines, ""))
}

// scripts returns the files of all scenarios that are to hold.
func scripts(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob("testdata/found/*.txt")
	return append(files, found...)
}

// TestScripts plays the scenarios of testdata, each of which shows one thing, and
// those of testdata/found, which random schedules brought.
func TestScripts(t *testing.T) {
	files := scripts(t)
	if *playOpen {
		unkept, _ := filepath.Glob("testdata/open/*.txt")
		files = append(files, unkept...)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			s := read(t, file)
			r := Run(s, Look{Trace: *transcript})
			for _, f := range r.Figures {
				t.Logf("figure %s: %g", f.Line, f.Value)
			}
			t.Logf("whole %v after the last fault", r.Rested)
			if *transcript {
				t.Log("\n" + r.Trace)
			}
			if r.Failure != nil {
				report(t, s, r)
			}
		})
	}
}

// TestParse holds the text of a scenario to what it is read as.
func TestParse(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		s := read(t, file)
		again, err := Parse(s.String())
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if again.String() != s.String() {
			t.Errorf("%s is read, written and read as\n%s, not\n%s", file, again, s)
		}
	}
}

// TestReplay wants the same scenario to give the same run, and no message to be
// changed by who sent or heard it.
func TestReplay(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		s := read(t, file)
		if one, other := Run(s, Look{Trace: true, Pure: true}), Run(s, Look{Trace: true}); one.Trace != other.Trace {
			t.Errorf("%s differs when it is played again: %s", file, difference(one.Trace, other.Trace))
		}
	}
}

func difference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(la), len(lb)) {
		if la[i] != lb[i] {
			return la[i] + " and " + lb[i]
		}
	}
	return "one is longer"
}
