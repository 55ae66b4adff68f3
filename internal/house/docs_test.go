package house

import (
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	docsLink = regexp.MustCompile(`\]\(([^):#]*)(?:#([a-z0-9-]+))?\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// anchors returns those that the headings of a Markdown text have.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		all[regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(name, "")] = true
	}
	return all
}

// TestLinksOfTheDocuments finds what docs/ links to, headings included.
func TestLinksOfTheDocuments(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d documents, %v", len(files), err)
	}
	for _, file := range files {
		document := "docs/" + filepath.Base(file)
		text := read(t, document)
		for _, m := range docsLink.FindAllStringSubmatch(prose(text), -1) {
			target := document
			if m[1] != "" {
				target = path.Join("docs", m[1])
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: %v", document, err)
			} else if m[2] != "" && !anchors(read(t, target))[m[2]] {
				t.Errorf("%s: %s has no heading %q", document, target, m[2])
			}
		}
	}
}

// TestReadmeLinksTheDocuments wants each document to be found from README.md.
func TestReadmeLinksTheDocuments(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(read(t, "README.md"), "\n## Documents\n")
	for _, file := range files {
		if !strings.Contains(list, "(docs/"+filepath.Base(file)+")") {
			t.Errorf("README.md does not list %s", filepath.Base(file))
		}
	}
}

// TestSizing holds the table of docs/operating.md to what was measured last, but
// for rounding.
func TestSizing(t *testing.T) {
	backends := []string{"memberlist", "redis", "nats", "etcd"}
	columns := map[string]int{"messages a second": 2, "bytes a second": 3, "server, % of one core": 4, "a broadcast, messages": 5}
	measured := map[string]string{}
	numbers := read(t, "docs/numbers.md")
	for _, b := range backends {
		_, section, _ := strings.Cut(numbers, "<!-- bench: "+b+" growth -->")
		section, _, _ = strings.Cut(section, "<!-- end -->")
		for line := range strings.Lines(section) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			if len(cells) < 6 || strings.TrimSpace(cells[1]) != "clusterchannel" {
				continue
			}
			for what, column := range columns {
				measured[fmt.Sprintf("%s, %s nodes, %s", what, strings.TrimSpace(cells[0]), b)] = strings.TrimSpace(cells[column])
			}
		}
	}
	what := ""
	for _, row := range table(t, read(t, "docs/operating.md"), "Sizing") {
		if row[0] != "" {
			what = row[0]
		}
		for i, b := range backends {
			key := fmt.Sprintf("%s, %s nodes, %s", what, row[1], b)
			want, ok := measured[key]
			if !ok || !near(row[2+i], want) {
				t.Errorf("%s: %q, measured is %q", key, row[2+i], want)
			}
		}
	}
}

// near reports whether two figures are one, rounded; "none" is that of no server.
func near(shown, measured string) bool {
	if measured == "" {
		return shown == "none"
	}
	a, errA := strconv.ParseFloat(strings.ReplaceAll(shown, ",", ""), 64)
	b, errB := strconv.ParseFloat(measured, 64)
	return errA == nil && errB == nil && math.Abs(a-b) <= b/100
}
