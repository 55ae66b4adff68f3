package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// What the transcript has in place of what a test finds.
const (
	address  = "127.0.0.1:5432"
	password = "hush-hush"
)

// block is one command of the transcript and what it prints.
var block = regexp.MustCompile("(?m)^```console\n\\$ ((?:.*\\\\\n)*.*)\n((?:[^`].*\n|\n)*)```$")

// TestTranscript runs the commands of the README in order, on a real server, and
// holds it to what they print.
func TestTranscript(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "cluster"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := servers.Start(t, servers.Postgres(), servers.Options{ // by default a local client needs no password
		Env:   map[string]string{"POSTGRES_PASSWORD": password},
		Files: map[string][]byte{"pg_hba.conf": []byte("host all all all scram-sha-256\n")},
		Args:  []string{"-c", "hba_file={dir}/pg_hba.conf"},
	})
	blocks := block.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 4 {
		t.Fatalf("%d commands are found", len(blocks))
	}
	for _, b := range blocks {
		command, want := strings.ReplaceAll(b[1], "\\\n", " "), b[2]
		t.Run(strings.Fields(command)[1], func(t *testing.T) {
			run := exec.Command("sh", "-c", strings.ReplaceAll(command, address, server.Addr())+" 2>&1; echo exit status $?")
			run.Dir, run.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := run.Output()
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			got := strings.TrimSuffix(strings.ReplaceAll(string(out), server.Addr(), address), "exit status 0\n")
			if same(got) != same(want) {
				t.Errorf("%s prints:\n%s\nwant:\n%s", command, got, want)
			}
		})
	}
}

// What differs from one run to another.
var (
	ports     = regexp.MustCompile(`(connected from|tcp) 127\.0\.0\.1:\d+(->)?`)
	durations = regexp.MustCompile(`(?m)\b[\d.]+(µs|ms|s)( +\d+$)?\b`)
	blanks    = regexp.MustCompile(` +|-{3,}`)
)

// same returns text without that.
func same(text string) string {
	text = ports.ReplaceAllString(text, "$1 PORT$2")
	text = durations.ReplaceAllString(text, "TIME")
	return blanks.ReplaceAllString(text, " ")
}
