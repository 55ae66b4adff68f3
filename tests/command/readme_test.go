package command_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fences are the blocks of a document, with their languages.
var fences = regexp.MustCompile("(?ms)^ *```([a-z]+)\n(.*?)^ *```$")

// threeNodes are the begin and the end of the section that TestThreeNodesOfTheReadme follows.
const threeNodes, afterThreeNodes = "\n### Three nodes in five minutes\n", "\n### "

// TestCommandsOfTheReadme runs what the README shows elsewhere: each demonstration,
// with the server that is started for it, and what needs a file, with the one that it shows.
func TestCommandsOfTheReadme(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts three servers")
	}
	before, section, _ := strings.Cut(readme(t), threeNodes)
	_, after, _ := strings.Cut(section, afterThreeNodes)
	dir, ran := t.TempDir(), 0
	for _, block := range fences.FindAllStringSubmatch(before+after, -1) {
		first, rest, _ := strings.Cut(strings.TrimSpace(block[2]), "\n")
		switch {
		case block[1] == "ini":
			name, _, _ := strings.Cut(strings.TrimPrefix(block[2], "; "), "\n")
			writeFile(t, filepath.Join(dir, name), block[2])
		case block[1] != "sh" || first == "go run ./cmd/clusterchannel demo" && rest == "make test": // TestDemo, and this run
		case strings.HasPrefix(first, "docker run "):
			ran++
			onServer(t, first, rest)
		case strings.HasPrefix(first, "clusterchannel ") && rest == "":
			ran++
			if code := runIn(t, dir, binary, strings.Fields(first)[1:]...).exitCode(t, patience); code != 0 {
				t.Errorf("%s ends with %d", first, code)
			}
		default:
			t.Errorf("nobody can run %q here", block[2])
		}
	}
	if ran != 4 {
		t.Errorf("%d blocks are run, want 4", ran)
	}
}

// onServer runs a demonstration on a server of the kind that is started for it.
func onServer(t *testing.T, start, demo string) {
	t.Helper()
	started := regexp.MustCompile(`^docker run -d -p (\d+):`).FindStringSubmatch(start)
	on := regexp.MustCompile(`^go run ./cmd/clusterchannel demo (--backend (\S+) .*)`).FindStringSubmatch(demo)
	if started == nil || on == nil {
		t.Errorf("nobody can run %q and %q here", start, demo)
		return
	}
	for _, kind := range []servers.Kind{servers.Redis(), servers.NATS(), servers.Etcd()} {
		if kind.Name != on[2] {
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			address := "127.0.0.1:" + started[1]
			if !strings.HasSuffix(on[1], "="+address) {
				t.Errorf("%q does not go to %s", demo, address)
			}
			server := servers.Start(t, kind, servers.Options{})
			demonstrate(t, kind.Name, strings.Fields(strings.ReplaceAll(on[1], address, server.Addr()))...)
		})
		return
	}
	t.Errorf("there is no server of %s", on[2])
}

// TestDocumentsThatAreRun: where a document shows commands, a test runs them.
func TestDocumentsThatAreRun(t *testing.T) {
	by := map[string]string{
		"README.md":                   "TestCommandsOfTheReadme, TestThreeNodesOfTheReadme",
		"docs/operating.md":           "TestCommandsOfTheDocuments",
		"docs/migrating.md":           "TestCommandsOfTheDocuments",
		"docs/rules.md":               "TestCommandsOfTheDocuments",
		"docs/runbook.md":             "TestCommandsOfTheRunbook, TestCommandsInProse",
		"docs/writing-a-backend.md":   "TestCommandsOfTheGuide",
		"docs/your-service.md":        "TestYourService",
		"examples/cron/README.md":     "TestRedis of examples/cron",
		"examples/limiter/README.md":  "TestRedis of examples/limiter",
		"examples/postgres/README.md": "TestTranscript of examples/postgres/cmd",
	}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root {
			return cmp.Or(err, fs.SkipDir)
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		for _, block := range fences.FindAllSubmatch(text, -1) {
			if slices.Contains([]string{"sh", "bash", "shell", "console"}, string(block[1])) && by[name] == "" {
				t.Errorf("no test runs what %s shows:\n%s", name, block[2])
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCommandsOfTheGuide begins a backend as the guide does, from an empty folder, with
// a checkout in place of a tagged version. What it then does in its tests is run by the example's.
func TestCommandsOfTheGuide(t *testing.T) {
	t.Parallel()
	text := document(t, "writing-a-backend.md")
	var blocks []string
	for _, block := range fences.FindAllStringSubmatch(text, -1) {
		if block[1] == "sh" {
			blocks = append(blocks, block[2])
		}
	}
	if len(blocks) != 2 {
		t.Fatalf("it has %d blocks of commands", len(blocks))
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	const replaced = "go mod edit -replace github.com/clusterchannel/clusterchannel=PATH"
	get := regexp.MustCompile(`(?m)^go get .*\n`)
	if !get.MatchString(blocks[0]) || !strings.Contains(text, "`"+replaced+"`") || !strings.Contains(text, "`go mod tidy`") {
		t.Fatal("it does not say how to begin")
	}
	script := "set -e\n" + get.ReplaceAllString(blocks[0], strings.ReplaceAll(replaced, "PATH", root)+"\n") +
		"cp " + root + "/examples/postgres/*.go . && rm -f *_test.go && go mod tidy && go build ./...\n"
	begin := exec.Command("sh", "-c", script)
	begin.Dir, begin.Env = t.TempDir(), append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	if out, err := begin.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s%s", err, script, out)
	}
	ran := regexp.MustCompile(`-run TestConformance/[a-z]+/(\S+)`).FindStringSubmatch(blocks[1])
	if ran == nil || !slices.ContainsFunc(conformance.Checks(), func(c conformance.CheckInfo) bool { return c.Name == ran[1] }) {
		t.Errorf("there is no check %q", ran)
	}
	if entries, err := filepath.Glob(filepath.Join(root, "examples/postgres/tests/*_test.go")); err != nil || len(entries) == 0 {
		t.Errorf("the example has no tests where the guide runs them: %v", err)
	}
}

// A newcomer who has only the README does what it says about three nodes: it runs
// as printed, but for ports and for a Redis, which are free ones here.
func TestThreeNodesOfTheReadme(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(readme(t), threeNodes)
	section, _, _ = strings.Cut(section, afterThreeNodes)
	here := []string{"127.0.0.1:6379", servers.Start(t, servers.Redis(), servers.Options{}).Addr()}
	known := map[string]bool{here[0]: true}
	for _, address := range regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(section, -1) {
		if !known[address] {
			known[address] = true
			here = append(here, address, freeAddress(t))
		}
	}
	section = strings.NewReplacer(here...).Replace(section)

	dir := t.TempDir()
	var nodes []*process
	for _, block := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
		if block[1] == "yaml" {
			name, _, _ := strings.Cut(strings.TrimPrefix(block[2], "# "), "\n")
			writeFile(t, filepath.Join(dir, name), block[2])
			continue
		}
		for line := range strings.Lines(block[2]) {
			line = strings.TrimSpace(line)
			command, ok := strings.CutPrefix(line, "./clusterchannel ")
			if command, background := strings.CutSuffix(command, " &"); ok && background {
				nodes = append(nodes, runIn(t, dir, binary, strings.Fields(command)...))
			} else if line != "go build -o clusterchannel ./cmd/clusterchannel" { // as was done for binary
				t.Errorf("nobody can run %q here", line)
			}
		}
	}
	if len(nodes) != 6 {
		t.Fatalf("%d nodes are started, want 6", len(nodes))
	}
	pages := regexp.MustCompile(`http://\S+/status`).FindAllString(section, -1)
	if len(pages) != 2 {
		t.Errorf("%d pages are named, want 2", len(pages))
	}
	for _, page := range pages {
		testkit.Eventually(t, patience, func() error {
			var status struct{ Summary struct{ Text string } }
			body, err := get(page + ".json")
			if err == nil {
				err = json.Unmarshal([]byte(body), &status)
			}
			if err == nil && !strings.HasPrefix(status.Summary.Text, "All is well. There are 3 members") {
				err = fmt.Errorf("%s says %q", page, status.Summary.Text)
			}
			return err
		})
	}
	for _, url := range regexp.MustCompile("health (http://[^`]+)`").FindAllStringSubmatch(section, -1) {
		if code := run(t, "health", url[1]).exitCode(t, patience); code != 0 {
			t.Errorf("health %s: exit code %d", url[1], code)
		}
	}
	for _, p := range nodes {
		terminated(t, p)
		for line := range strings.Lines(p.stderr.String()) {
			if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") && !strings.Contains(line, "configured peers answers") {
				t.Errorf("a newcomer sees %s", line)
			}
		}
	}
}
