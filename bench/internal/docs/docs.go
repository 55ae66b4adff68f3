// Package docs writes what was measured into the documents.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

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
