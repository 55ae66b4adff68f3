package house

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// phrases that a reader has to decode, each with what to write instead. A space
// in them is also the end of a line, in a comment too.
var phrases = []struct{ phrase, instead string }{
	{`tells? whether`, "reports whether"},
	{`(?:takes?|taking|taken|took) in`, "notes, handles, merges, includes, accepts"},
	{`(?:try|tries|trying) on`, "keeps trying, still trying"},
	{`mend(?:s|ed|ing)?`, "fix"},
	{`way out`, "what to do"},
	{`be it`, "even if, whether or not"},
	{`lest`, "so that … does not"},
	{`in vain`, "without success"},
	{`without a word`, "silently, without a goodbye"},
	{`(?:nodes?|members?|none|updates?) of ours|our own kind`, "own, foreign"},
	{`takes? note of`, "notes"},
}

// texts reports whether the words of a file are checked.
func texts(path string) bool {
	if path == "internal/house/words_test.go" {
		return false
	}
	switch filepath.Ext(path) {
	case ".go", ".md", ".yml", ".yaml", ".html", ".js", ".sh", ".ini":
		return true
	}
	return filepath.Base(path) == "Makefile" || filepath.Base(path) == "Dockerfile" || strings.HasPrefix(path, ".ci/")
}

// found returns where a text has a phrase: the line, and the words.
func found(text, phrase string) (lines []int, words []string) {
	between := `(?:[ \t]+|[ \t]*\n[ \t]*(?://|#)?[ \t]*)`
	pattern := regexp.MustCompile(`(?i)\b(?:` + strings.ReplaceAll(phrase, " ", between) + `)\b`)
	for _, at := range pattern.FindAllStringIndex(text, -1) {
		lines = append(lines, 1+strings.Count(text[:at[0]], "\n"))
		words = append(words, text[at[0]:at[1]])
	}
	return lines, words
}

// TestPlainEnglish keeps out phrases that this project once had too many of.
func TestPlainEnglish(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path, err = filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(path, ".git")):
			return fs.SkipDir
		case d.IsDir() || !d.Type().IsRegular() || !texts(filepath.ToSlash(path)):
			return nil
		}
		seen++
		text := read(t, path)
		for _, p := range phrases {
			lines, words := found(text, p.phrase)
			for i, line := range lines {
				t.Errorf("%s:%d: %q: write %s", path, line, words[i], p.instead)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 300 {
		t.Errorf("only %d files were read", seen)
	}
}

// A phrase is found at the end of a line, in a comment, and in capitals, and not
// within a word.
func TestPhrasesAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"// It tells\n\t// whether it is so.":      1,
		"Tells whether, and tell   whether again.": 2,
		"retells whether":                          0,
		"It tells us whether.":                     0,
	} {
		if lines, _ := found(text, phrases[0].phrase); len(lines) != want {
			t.Errorf("%q has the phrase in lines %v, want %d", text, lines, want)
		}
	}
}
