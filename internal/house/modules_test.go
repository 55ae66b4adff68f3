package house

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goMod is a go.mod as go mod edit -json shows it.
type goMod struct {
	// tagged says that each version has a tag. The others are always of the same
	// commit as what they require.
	tagged bool

	Module  struct{ Path string }
	Require []struct {
		Path, Version string
		Indirect      bool
	}
	Replace []struct{ Old, New struct{ Path string } }
}

// modules returns each module of the repository by its directory.
func modules(t *testing.T) map[string]goMod {
	t.Helper()
	all := map[string]goMod{}
	uses := regexp.MustCompile(`(?ms)^use \($(.*?)^\)$`).FindAllStringSubmatch(read(t, "go.work"), -1)
	if len(uses) != 2 {
		t.Fatalf("go.work has %d lists of modules, want one of those with a version, and one of the others", len(uses))
	}
	for _, line := range strings.Fields(uses[0][1] + uses[1][1]) {
		dir := path.Clean(line)
		out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(root, dir, "go.mod")).Output()
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		m := goMod{tagged: slices.Contains(strings.Fields(uses[0][1]), line)}
		if err := json.Unmarshal(out, &m); err != nil {
			t.Fatal(err)
		}
		all[dir] = m
	}
	return all
}

func TestWorkspaceListsEveryModule(t *testing.T) {
	listed := modules(t)
	out, err := exec.Command("git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "go.mod", "**/go.mod").Output()
	if err != nil {
		t.Skip("this is no checkout of git: ", err)
	}
	for file := range strings.Lines(string(out)) {
		if dir := path.Dir(strings.TrimSpace(file)); listed[dir].Module.Path == "" {
			t.Errorf("go.work does not list %s", dir)
		}
	}
	for dir, m := range listed {
		if want := path.Join(module, dir); m.Module.Path != want && !strings.HasPrefix(m.Module.Path, "example.com/") {
			t.Errorf("%s is the module %s, want %s", dir, m.Module.Path, want)
		}
	}
}

// TestNeighboursAreReplaced wants each requirement on a module of this repository
// to be of no version, as make release sets it, and to be read from its directory.
func TestNeighboursAreReplaced(t *testing.T) {
	all := modules(t)
	dirs := map[string]string{}
	for dir, m := range all {
		dirs[m.Module.Path] = dir
	}
	for dir, m := range all {
		replaced := map[string]string{}
		for _, r := range m.Replace {
			replaced[r.Old.Path] = path.Join(dir, r.New.Path)
		}
		for _, r := range m.Require {
			neighbour, ours := dirs[r.Path]
			switch {
			case !ours:
			case r.Version != "v0.0.0":
				t.Errorf("%s requires %s in version %s; make release sets it", dir, r.Path, r.Version)
			case replaced[r.Path] != neighbour:
				t.Errorf("%s does not replace %s by its directory", dir, r.Path)
			case m.tagged && !all[neighbour].tagged:
				t.Errorf("%s requires %s, which has no version", dir, neighbour)
			}
		}
	}
}

// moduleOf returns the directory of the module that a directory is in.
func moduleOf(all map[string]goMod, dir string) string {
	for ; all[dir].Module.Path == ""; dir = path.Dir(dir) {
	}
	return dir
}

// TestNoModuleImportsInternalsOfAnother: two modules may meet in any two
// versions, so what one has to itself must not be used by the other.
func TestNoModuleImportsInternalsOfAnother(t *testing.T) {
	all := modules(t)
	for _, s := range sources(t) {
		from := moduleOf(all, s.dir)
		for _, imported := range s.imports(t) {
			dir, ours := strings.CutPrefix(imported, module+"/")
			if !ours || !slices.Contains(strings.Split(dir, "/"), "internal") {
				continue
			}
			if to := moduleOf(all, dir); to != from && all[from].tagged {
				t.Errorf("%s imports %s, which the module %s has to itself", s.path, dir, to)
			}
		}
	}
}

func TestRequirementsOfTheRoot(t *testing.T) {
	const limit = 30
	if n := len(modules(t)["."].Require); n > limit {
		t.Errorf("go.mod has %d requirements; %d are allowed, for everybody pays for them", n, limit)
	}
}

// TestBuildListsOfConsumers measures what a service gets that imports one backend.
func TestBuildListsOfConsumers(t *testing.T) {
	for backend, limit := range map[string]int{"redis": 70, "nats": 70, "etcd": 110, "memberlist": 120} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			here, err := filepath.Abs(root)
			if err != nil {
				t.Fatal(err)
			}
			driver := module + "/backends/" + backend
			files := map[string]string{
				"go.mod": "module example.com/service\n\ngo 1.26.0\n\n" +
					"require (\n\t" + module + " v0.0.0\n\t" + driver + " v0.0.0\n)\n\n" +
					"replace (\n\t" + module + " => " + here + "\n\t" + driver + " => " + filepath.Join(here, "backends", backend) + "\n)\n",
				"go.sum":  read(t, "backends/"+backend+"/go.sum") + read(t, "go.sum"),
				"main.go": "package main\n\nimport (\n\t_ \"" + module + "/backend\"\n\t_ \"" + driver + "\"\n)\n\nfunc main() {}\n",
			}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			run := func(args ...string) string {
				t.Helper()
				cmd := exec.Command("go", args...)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v: %v", cmd, err)
				}
				return string(out)
			}
			run("mod", "tidy")
			n := strings.Count(run("list", "-m", "all"), "\n")
			t.Logf("%d modules, %d are allowed", n, limit)
			if n > limit {
				t.Errorf("a service with this backend alone has %d modules in its build list; %d are allowed", n, limit)
			}
		})
	}
}
