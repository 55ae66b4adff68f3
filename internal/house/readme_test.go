package house

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
)

// table returns the cells of the first table under a heading of a Markdown text,
// without its head, and without backquotes.
func table(t *testing.T, text, heading string) [][]string {
	t.Helper()
	_, section, ok := strings.Cut(text, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("there is no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows [][]string
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "|"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "`", "")
			}
			rows = append(rows, cells)
		case len(rows) > 0:
			return rows[2:]
		}
	}
	if len(rows) < 3 {
		t.Fatalf("there is no table under %q", heading)
	}
	return rows[2:]
}

// compare reports where two lists of lines differ.
func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: lacks %q", what, line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: %q is not what the code says", what, line)
		}
	}
	if !t.Failed() && !slices.Equal(got, want) {
		t.Errorf("%s: the order differs: %q, want %q", what, got, want)
	}
}

func TestReadmeKeys(t *testing.T) {
	var got, want []string
	for _, row := range table(t, read(t, "README.md"), "Configuration") {
		got = append(got, strings.Join(row[:3], " | "))
	}
	for _, k := range backend.Keys() {
		kind := k.Type
		if len(k.OneOf) > 0 {
			kind = strings.Join(k.OneOf, ", ")
		}
		want = append(want, fmt.Sprintf("%s | %s | %s", k.Name, kind, k.Default))
	}
	compare(t, "README.md, Configuration", got, want)
}

var fence = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// TestReadmePrograms builds each Go program in README.md.
func TestReadmePrograms(t *testing.T) {
	programs := fence.FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(programs) == 0 {
		t.Fatal("README.md shows no Go program")
	}
	for i, p := range programs {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) { compile(t, p[1]) })
	}
}

// compile builds text as the one file of a package of this module that exists in
// an overlay alone: nothing is written into the repository.
func compile(t *testing.T, text string) {
	t.Helper()
	if formatted, err := format.Source([]byte(text)); err != nil || string(formatted) != text {
		t.Errorf("not a whole, formatted file (%v):\n%s", err, text)
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, overlay := filepath.Join(dir, "snippet.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(here, "snippet", "snippet.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{file: []byte(text), overlay: replace} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-overlay", overlay, "-o", os.DevNull, "./snippet")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", cmd, err, bytes.TrimSpace(out))
	}
}

// TestReadmeCommands holds the commands shown to what is there.
func TestReadmeCommands(t *testing.T) {
	readme, makefile := read(t, "README.md"), read(t, "Makefile")
	for _, command := range []string{"go run ./cmd/clusterchannel demo", "make test"} {
		if !strings.Contains(readme, "\n"+command) {
			t.Errorf("README.md does not show %q on a line", command)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "cmd/clusterchannel/main.go")); err != nil {
		t.Error(err)
	}
	for _, m := range regexp.MustCompile("(?m)^make ([a-z]+)|`make ([a-z]+)`").FindAllStringSubmatch(readme+read(t, "CONTRIBUTING.md"), -1) {
		if target := m[1] + m[2]; !strings.Contains(makefile, "\n"+target+":") {
			t.Errorf("the Makefile has no target %s", target)
		}
	}
}

// TestLinksStay finds the target of every relative link of the documents.
func TestLinksStay(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, document := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		for _, m := range link.FindAllStringSubmatch(prose(read(t, document)), -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}

// The servers that the README starts are those that the tests run on.
func TestServersOfTheReadme(t *testing.T) {
	readme, kinds := read(t, "README.md"), read(t, "conformance/servers/kinds.go")
	images := regexp.MustCompile(`docker run -d -p \S+ (\S+)`).FindAllStringSubmatch(readme, -1)
	if len(images) != 3 {
		t.Errorf("%d servers are started, want 3", len(images))
	}
	for _, image := range images {
		if !strings.Contains(kinds, `Image: "`+image[1]+`"`) {
			t.Errorf("the tests do not run on %s", image[1])
		}
	}
}
