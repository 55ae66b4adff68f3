package house

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const guide = "docs/writing-a-backend.md"

var (
	anyBlock   = regexp.MustCompile("(?ms)^```.*?^```$")
	guideBlock = regexp.MustCompile("(?ms)^```(go|yaml)\n(.*?)^```$")
	guideLink  = regexp.MustCompile(`\]\(([^)#:]+)\)`)
)

// TestGuideShowsTheExample holds each block of code of the guide to the file
// that the guide linked to last. The example's own tests hold the file.
func TestGuideShowsTheExample(t *testing.T) {
	text := read(t, guide)
	blocks := guideBlock.FindAllStringSubmatchIndex(text, -1)
	shown := ""
	for _, b := range blocks {
		language, code := text[b[2]:b[3]], text[b[4]:b[5]]
		file := lastLink(text[:b[0]], map[string]string{"go": ".go", "yaml": ".yml"}[language])
		first, _, _ := strings.Cut(code, "\n")
		if file == "" {
			t.Errorf("%s: no file is named before %q", guide, first)
			continue
		}
		if !strings.Contains(read(t, file), code) {
			t.Errorf("%s: the block that begins with %q is not in %s as it stands there", guide, first, file)
		}
		shown += code
	}
	for _, part := range []string{
		"backend.Register(", "params.Decode(", "func Open(", ") Broadcast(", ") Caps()", ") Close(", ".Link(nil)", ".Frame(",
		"conformance.Run(", "servers.Start(", "servers.Postgres()", "func NATS() Kind", "workflows/conformance-module.yml@",
	} {
		if !strings.Contains(shown, part) {
			t.Errorf("%s shows no %s", guide, part)
		}
	}
}

// lastLink returns the last file of that kind that text links to, from the top
// of the repository.
func lastLink(text, extension string) string {
	file := ""
	for _, m := range guideLink.FindAllStringSubmatch(text, -1) {
		if path.Ext(m[1]) == extension {
			file = path.Join(path.Dir(guide), m[1])
		}
	}
	return file
}

// prose returns a text without its blocks of code.
func prose(text string) string { return anyBlock.ReplaceAllString(text, "") }

func TestGuideLinksStay(t *testing.T) {
	for _, m := range guideLink.FindAllStringSubmatch(prose(read(t, guide)), -1) {
		if _, err := os.Stat(filepath.Join(root, filepath.Dir(guide), m[1])); err != nil {
			t.Errorf("%s: %v", guide, err)
		}
	}
}

// TestEveryBackendIsInTheMatrix reads the workflow that runs the suite.
func TestEveryBackendIsInTheMatrix(t *testing.T) {
	matrix := read(t, ".github/workflows/conformance.yml")
	for dir := range backendPackages(t) {
		if !strings.Contains(matrix, "backend: "+path.Base(dir)+",") {
			t.Errorf(".github/workflows/conformance.yml does not run %s", dir)
		}
	}
}
