package command_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestYourService does what docs/your-service.md says, as printed: it writes the files
// that have a name, runs the commands in one shell, and compares what they print. In
// place of a tagged version there is the checkout, as the page says too.
func TestYourService(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds a service")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	p := newPage(t, document(t, "your-service.md"), root)
	if p.files != 4 || len(p.shown) != 10 {
		t.Errorf("%d files and %d commands with output are on the page", p.files, len(p.shown))
	}
	p.run()
	for i, s := range p.shown {
		got, err := os.ReadFile(filepath.Join(p.dir, fmt.Sprintf("shown-%d", i)))
		if err != nil {
			t.Fatalf("%s is not run", s.command)
		}
		if sameNodes(string(got)) != sameNodes(s.output) {
			t.Errorf("%s prints\n%swant\n%s", s.command, got, s.output)
		}
	}
	var config struct {
		Jobs []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(p.yaml), &config); err != nil || len(config.Jobs) != 1 || len(config.Jobs[0].Static[0].Targets) != 3 {
		t.Errorf("%+v, %v", config, err)
	}
}

// page is a document as one script.
type page struct {
	t      *testing.T
	dir    string
	script strings.Builder
	shown  []shown
	files  int
	yaml   string
}

// shown is a command, and what it is said to print.
type shown struct{ command, output string }

func newPage(t *testing.T, text, root string) *page {
	t.Helper()
	p := &page{t: t, dir: t.TempDir()}
	here := []string{}
	for _, address := range regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(text, -1) {
		if !strings.Contains(strings.Join(here, " "), address) {
			here = append(here, address, freeAddress(t))
		}
	}
	text = strings.NewReplacer(here...).Replace(text)
	get := regexp.MustCompile(`(?m)^go get .*$`)
	var replaced []string
	for _, m := range regexp.MustCompile("`(go mod edit -replace [^`]*)`").FindAllStringSubmatch(text, -1) {
		replaced = append(replaced, strings.ReplaceAll(m[1], "PATH", root))
	}
	if len(replaced) != 2 || len(get.FindAllString(text, -1)) != 1 {
		t.Fatal("the page does not say how to begin")
	}
	text = get.ReplaceAllString(text, strings.Join(replaced, "\n"))
	fmt.Fprintf(&p.script, "set -e\nexport GOWORK=off GOFLAGS=-mod=mod\n")
	for _, block := range fences.FindAllStringSubmatch(text, -1) {
		switch block[1] {
		case "sh":
			p.script.WriteString(block[2])
		case "go", "yaml":
			p.file(block[2])
		case "console":
			p.console(block[2])
		default:
			t.Errorf("a block of %q", block[1])
		}
	}
	return p
}

func (p *page) file(text string) {
	p.t.Helper()
	first, _, _ := strings.Cut(text, "\n")
	name := strings.TrimLeft(first, "/# ")
	if name == first || name != filepath.Base(name) {
		p.t.Fatalf("a file does not begin with its name: %q", first)
	}
	if filepath.Ext(name) == ".yml" {
		p.yaml = text
	}
	p.files++
	fmt.Fprintf(&p.script, "cat > %s <<'END OF FILE'\n%sEND OF FILE\n", name, text)
	if filepath.Ext(name) == ".go" {
		fmt.Fprintf(&p.script, "test -z \"$(gofmt -l %s)\"\n", name)
	}
}

func (p *page) console(text string) {
	for _, part := range strings.Split(text, "$ ")[1:] {
		command, output, _ := strings.Cut(part, "\n")
		fmt.Fprintf(&p.script, "{ %s\n} > %s/shown-%d\n", command, p.dir, len(p.shown))
		p.shown = append(p.shown, shown{command, output})
	}
}

// run runs the script, and ends what it has started.
func (p *page) run() {
	p.t.Helper()
	file := filepath.Join(p.dir, "script")
	writeFile(p.t, file, p.script.String())
	out, err := os.Create(filepath.Join(p.dir, "output"))
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command("sh", file)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	err = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the nodes, if there are any
	text, _ := os.ReadFile(out.Name())                  // it is only shown
	if err != nil {
		p.t.Errorf("%v\n%s", err, text)
	}
}

// sameNodes returns a text without the numbers of nodes, which differ from run to run,
// as long as they are all of one.
func sameNodes(text string) string {
	nodes := regexp.MustCompile(`node-\d`).FindAllString(text, -1)
	for _, n := range nodes {
		if n != nodes[0] {
			return text
		}
	}
	return regexp.MustCompile(`node-\d`).ReplaceAllString(text, "node-N")
}
