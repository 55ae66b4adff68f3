// Package docs writes what was measured into the documents.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Table is lines as a table of Markdown, the head first.
func Table(lines [][]string) string {
	var b strings.Builder
	for i, line := range lines {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(line)) + "\n")
		}
	}
	return b.String()
}

// Publish prints what the program of that name below bench has measured with some flags.
// Where docs is a directory, it becomes the section of that name of its numbers.md.
func Publish(docs, program, flags, text string) error {
	if _, err := fmt.Print(text); err != nil || docs == "" {
		return err
	}
	return Insert(docs, program, fmt.Sprintf("`go run ./bench/%s%s`, on %d cores, %s/%s, %s:\n\n%s",
		program, flags, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), text))
}

// Insert puts text into numbers.md of the directory docs, between the two lines
// that mark its place.
func Insert(docs, section, text string) error {
	path := filepath.Join(docs, "numbers.md")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	from, to := fmt.Sprintf("<!-- bench: %s -->\n", section), "<!-- end -->"
	before, rest, ok := strings.Cut(string(b), from)
	if !ok {
		return fmt.Errorf("%s has no line %q", path, strings.TrimSpace(from))
	}
	_, after, ok := strings.Cut(rest, to)
	if !ok {
		return fmt.Errorf("%s: no line %q follows %q", path, to, strings.TrimSpace(from))
	}
	return os.WriteFile(path, []byte(before+from+"\n"+text+"\n"+to+after), 0o644)
}
