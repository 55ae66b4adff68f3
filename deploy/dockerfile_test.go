package deploy_test

import (
	"debug/elf"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func dockerfile() string {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// instruction is one of a Dockerfile.
type instruction struct{ name, args string }

// stages parses a Dockerfile. No line of this one is continued.
func stages(t *testing.T) [][]instruction {
	t.Helper()
	var all [][]instruction
	for line := range strings.Lines(dockerfile()) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, args, _ := strings.Cut(line, " ")
		if name == "FROM" {
			all = append(all, nil)
		}
		if len(all) == 0 || name != strings.ToUpper(name) || strings.HasSuffix(args, `\`) {
			t.Fatalf("%q is no instruction of a stage", line)
		}
		all[len(all)-1] = append(all[len(all)-1], instruction{name, args})
	}
	if len(all) != 2 {
		t.Fatalf("%d stages, want 2", len(all))
	}
	return all
}

func named(stage []instruction, name string) []string {
	var args []string
	for _, i := range stage {
		if i.name == name {
			args = append(args, i.args)
		}
	}
	return args
}

func TestDockerfile(t *testing.T) {
	all := stages(t)
	build, final := all[0], all[1]
	goMod := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	if want := "--platform=${BUILDPLATFORM:-linux} golang:" + goMod[1] + " AS build"; build[0].args != want {
		t.Errorf("the build is from %q, want %q as go.mod says", build[0].args, want)
	}
	if got := named(build, "ARG"); !slices.Equal(got, []string{"TARGETOS TARGETARCH"}) {
		t.Errorf("the build knows %q of its target", got)
	}
	if final[0].args != "scratch" {
		t.Errorf("the image is from %q, want nothing", final[0].args)
	}
	if got := named(final, "RUN"); got != nil {
		t.Errorf("%q cannot run: there is no shell", got)
	}
	user := named(final, "USER")
	if len(user) != 1 || !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user[0]) {
		t.Fatalf("the user is %q, want one number that is not 0: Kubernetes cannot tell of a name", user)
	}
	if want := "--from=build --chown=" + user[0] + " /owned /"; !slices.Contains(named(final, "COPY"), want) {
		t.Errorf("/data is not of user %s", user[0])
	}
	if got := named(final, "EXPOSE"); !slices.Equal(got, []string{"9093/tcp 9094/tcp 9094/udp"}) {
		t.Errorf("exposed: %q", got)
	}
	for _, name := range []string{"ENTRYPOINT", "CMD", "HEALTHCHECK"} {
		args := named(final, name)
		if len(args) != 1 {
			t.Errorf("%d of %s", len(args), name)
			continue
		}
		var words []string
		if err := json.Unmarshal([]byte(args[0][strings.Index(args[0], "["):]), &words); err != nil || len(words) == 0 {
			t.Errorf("%s is not in the form that needs no shell: %v", name, err)
		}
	}
}

// compile runs the build's own command for an architecture.
func compile(t *testing.T, arch string) *elf.File {
	t.Helper()
	run := named(stages(t)[0], "RUN")
	i := slices.IndexFunc(run, func(args string) bool { return strings.Contains(args, "go build") })
	if i < 0 {
		t.Fatal("nothing is built")
	}
	dir := t.TempDir()
	command := exec.Command("sh", "-ec", strings.ReplaceAll(run[i], "/rootfs", dir))
	command.Dir, command.Env = "../cmd", append(os.Environ(), "TARGETOS=linux", "TARGETARCH="+arch)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, err := elf.Open(filepath.Join(dir, "usr/local/bin/clusterchannel"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

var architectures = flag.Bool("architectures", false, "compile for each architecture of the image, which takes some minutes more")

func TestStaticProgram(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		t.Run(arch, func(t *testing.T) {
			if !*architectures && arch != runtime.GOARCH {
				t.Skip("at night only: it is compiled for this machine's architecture")
			}
			file := compile(t, arch)
			if file.Machine != machine {
				t.Errorf("it is of %v", file.Machine)
			}
			for _, p := range file.Progs {
				if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
					t.Errorf("it is linked dynamically: %v", p.Type)
				}
			}
		})
	}
}

// ignored reports whether a line of .dockerignore matches that path, for the
// forms of lines that the file has.
func ignored(patterns []string, path string) bool {
	for _, p := range patterns {
		if rest, anywhere := strings.CutPrefix(p, "**/"); anywhere {
			for part := range strings.SplitSeq(path, "/") {
				if ok, err := filepath.Match(rest, part); err == nil && ok {
					return true
				}
			}
		} else if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// TestDockerignore checks that all that is compiled gets into the build.
func TestDockerignore(t *testing.T) {
	var patterns []string
	for line := range strings.Lines(read(t, "../.dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			patterns = append(patterns, line)
		}
	}
	list := exec.Command("go", "list", "-deps", "-f",
		`{{if and .Module .Module.Main}}{{range .GoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{end}}`, "./cmd/clusterchannel")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Fields(string(out))
	if len(files) < 50 {
		t.Fatalf("%d files make the program: that cannot be all", len(files))
	}
	for _, file := range append(files, filepath.Join(top, "go.mod"), filepath.Join(top, "go.sum")) {
		path, err := filepath.Rel(top, file)
		if err != nil {
			t.Fatal(err)
		}
		if ignored(patterns, filepath.ToSlash(path)) {
			t.Errorf("%s is kept from the build", path)
		}
	}
	for _, path := range []string{".git/config", "cmd/clusterchannel/main_test.go", "bin/clusterchannel"} {
		if !ignored(patterns, path) {
			t.Errorf("%s is sent to the build for nothing", path)
		}
	}
}
