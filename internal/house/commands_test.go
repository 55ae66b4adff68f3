package house

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inSentence is a command of this project within a sentence: what make, and the go
// command with this project's packages, are given.
var inSentence = regexp.MustCompile("`(?:GOWORK=off )?(make [^`]+|go (?:run|test|vet|build) [^`]+)`")

// TestCommandsInSentences wants what the documents tell people to run to exist: the
// targets and their variables, the packages, the tests and the flags.
func TestCommandsInSentences(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, found := read(t, "Makefile"), 0
	code := map[string]string{} // by directory
	for _, s := range sources(t) {
		code[s.dir] += read(t, s.path)
	}
	for _, document := range append(files, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inSentence.FindAllStringSubmatch(prose(string(text)), -1) {
			found++
			bad := func(what string) { t.Errorf("%s: `%s`: there is no %s", filepath.Base(document), m[1], what) }
			words := strings.Fields(strings.NewReplacer("'", "", "\n", " ").Replace(m[1]))
			if words[0] == "make" {
				for _, word := range words[1:] {
					name, _, sets := strings.Cut(word, "=")
					if !sets && !regexp.MustCompile(`(?m)^`+name+`:`).MatchString(makefile) || sets && !strings.Contains(makefile, "$("+name) {
						bad(name + " in the Makefile")
					}
				}
				continue
			}
			dir := ""
			for i, word := range words[2:] {
				own, isPath := strings.CutPrefix(word, "./")
				if isPath && dir == "" {
					if dir = path.Clean(own); code[dir] == "" {
						dir = "tests/" + dir // where the sentence says so
					}
					if code[dir] == "" {
						bad("package " + word)
					}
				}
				flag, isFlag := strings.CutPrefix(word, "-")
				switch before := words[1+i]; {
				case before == "-run" && word != "-":
					for name := range strings.SplitSeq(word, "|") {
						if !anyContains(code, "func "+name) {
							bad("test " + name)
						}
					}
				case before == "-bench" && word != ".":
					if !anyContains(code, "func Benchmark"+word) {
						bad("benchmark " + word)
					}
				case isFlag && dir != "" && !slices.Contains([]string{"", "v", "run", "bench"}, flag):
					if !strings.Contains(code[dir], `"`+strings.TrimLeft(flag, "-")+`", `) {
						bad("flag " + word)
					}
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d commands are found", found)
	}
}

func anyContains(code map[string]string, text string) bool {
	for _, of := range code {
		if strings.Contains(of, text) {
			return true
		}
	}
	return false
}
