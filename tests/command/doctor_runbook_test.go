package command_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fenced is a command that stands alone in the runbook.
var fenced = regexp.MustCompile("(?m)^ *```\n *(clusterchannel .+)\n *```$")

// TestCommandsOfTheRunbook runs them on a configuration that is sound.
func TestCommandsOfTheRunbook(t *testing.T) {
	t.Parallel()
	commands := fenced.FindAllStringSubmatch(document(t, "runbook.md"), -1)
	if len(commands) < 2 {
		t.Fatalf("%d commands are found", len(commands))
	}
	conf := file(t, "cluster.yml", "backend: memory\ncluster: runbook\n")
	for _, c := range commands {
		args := strings.Fields(strings.ReplaceAll(c[1], "cluster.yml", conf))[1:]
		if code := run(t, args...).exitCode(t, patience); code != 0 {
			t.Errorf("%s ends with %d", c[1], code)
		}
	}
}

// inProse is a command of another program within a sentence.
var inProse = regexp.MustCompile("`((?:etcdctl|nstat|promtool|timedatectl|redis-cli|nats|kubectl|docker|curl|amtool)(?: [^`]+)?)`")

// proseCommands returns those of a document that begin with a word, each once.
func proseCommands(t *testing.T, name, word string) (all []string) {
	t.Helper()
	for _, m := range inProse.FindAllStringSubmatch(document(t, name), -1) {
		if strings.HasPrefix(m[1]+" ", word) && !slices.Contains(all, m[1]) {
			all = append(all, m[1])
		}
	}
	return all
}

// TestCommandsInProse runs those of the runbook that need no server. Those of
// etcdctl are run by TestDoctorEtcd.
func TestCommandsInProse(t *testing.T) {
	t.Parallel()
	commands := proseCommands(t, "runbook.md", "")
	if len(commands) < 6 {
		t.Fatalf("%d commands are found: %q", len(commands), commands)
	}
	rules := filepath.Join("..", "..", "deploy", "monitoring", "rules.yml")
	for _, command := range commands {
		args := strings.Fields(command)
		switch args[0] {
		case "etcdctl":
			continue
		case "promtool":
			args = append(args, rules)
		case "timedatectl":
			args = append(args, "--version") // it asks systemd, which containers lack
		}
		t.Run(command, func(t *testing.T) {
			path, err := exec.LookPath(args[0])
			if err != nil {
				t.Skipf("%s is not installed", args[0])
			}
			if out, err := exec.Command(path, args[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%q: %v\n%s", args, err, out)
			}
		})
	}
}
