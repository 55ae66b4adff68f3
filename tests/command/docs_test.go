package command_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// document returns a file of docs/.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCommandsOfTheDocuments runs what the documents show, in order.
func TestCommandsOfTheDocuments(t *testing.T) {
	for name, commands := range map[string]int{"operating.md": 18, "migrating.md": 10, "rules.md": 6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := document(t, name)
			r := newReader(t, text)
			for _, block := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
				switch block[1] {
				case "sh":
					r.follow(block[2])
				case "yaml", "ini":
					r.write(block[2])
				default:
					t.Errorf("a block of %q is neither a file nor commands", block[1])
				}
			}
			for _, p := range r.nodes {
				terminated(t, p)
			}
			if r.followed < commands {
				t.Errorf("%d commands are run, want %d", r.followed, commands)
			}
		})
	}
}

// reader does what a document says, in its own directory.
type reader struct {
	t        *testing.T
	dir      string
	here     *strings.Replacer // what the document names, by what the test has
	files    []string
	nodes    []*process
	api      string // of the node that was started last
	followed int
}

// newReader starts the servers that text names, and finds ports for its hosts.
func newReader(t *testing.T, text string) *reader {
	t.Helper()
	r := &reader{t: t, dir: t.TempDir()}
	here := []string{"/var/lib/clusterchannel", r.dir}
	for _, k := range []servers.Kind{servers.Redis(), servers.NATS(), servers.Etcd()} {
		address := fmt.Sprintf("%s.example:%d", k.Name, k.Port)
		if strings.Contains(text, address) {
			here = append(here, address, servers.Start(t, k, servers.Options{}).Addr())
		}
	}
	known := map[string]bool{}
	for _, host := range regexp.MustCompile(`10\.0\.0\.(\d+):9094`).FindAllStringSubmatch(text, -1) {
		if !known[host[0]] {
			known[host[0]] = true
			here = append(here, host[0], loopback(t, host[1]))
		}
	}
	r.here = strings.NewReplacer(here...)
	return r
}

var networks atomic.Int32

// loopback returns a free address whose host ends in last. It is on no address
// that other tests use, so that nobody else takes it meanwhile.
func loopback(t *testing.T, last string) string {
	t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%s:0", 1+os.Getpid()%250, networks.Add(1), last))
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// write writes a file that begins with a comment that is its name.
func (r *reader) write(text string) {
	r.t.Helper()
	first, _, _ := strings.Cut(text, "\n")
	name := strings.TrimLeft(first, "#; ")
	if name == first || name != filepath.Base(name) {
		r.t.Errorf("a file does not begin with its name: %q", first)
		return
	}
	r.files = append(r.files, name)
	writeFile(r.t, filepath.Join(r.dir, name), r.here.Replace(text))
}

// follow runs the commands of a block, one a line. Nodes run until the document
// ends.
func (r *reader) follow(block string) {
	for line := range strings.Lines(block) {
		args := strings.Fields(line)
		if len(args) == 0 {
			continue
		}
		r.followed++
		switch {
		case args[0] == "curl" && len(args) == 2:
			if body, err := get(r.located(args[1])); err != nil || body == "" {
				r.t.Errorf("%s: %v", line, err)
			}
		case args[0] == "clusterchannel" && args[1] == "alertmanager":
			r.node(args[1:])
		case args[0] == "clusterchannel":
			for i := range args {
				args[i] = r.located(args[i])
			}
			p := run(r.t, args[1:]...)
			if code := p.exitCode(r.t, patience); code != 0 {
				r.t.Errorf("%s ends with %d:\n%s%s", line, code, p.stdout.String(), p.stderr.String())
			}
		default:
			shipped(r.t, args)
		}
	}
}

// located inserts what the test has: addresses, the API, and files.
func (r *reader) located(arg string) string {
	arg = r.here.Replace(strings.ReplaceAll(arg, "http://localhost:9093", r.api))
	name := arg[strings.LastIndexByte(arg, '=')+1:]
	if name == "data/" || slices.Contains(r.files, name) {
		return strings.TrimSuffix(arg, name) + filepath.Join(r.dir, name)
	}
	return arg
}

// node starts a node, which must become ready. It serves its API at a free port,
// waits for its peers no longer than a test can, and stores nothing in a directory
// that is not named.
func (r *reader) node(args []string) {
	r.t.Helper()
	for i := range args {
		args[i] = r.located(args[i])
	}
	args = append(args, "--web.listen-address=127.0.0.1:0")
	if line := strings.Join(args, " "); !strings.Contains(line, "--config.ini=") && !strings.Contains(line, "--cluster.config=") {
		args = append(args, "--cluster.settle-timeout=3s")
	}
	if !strings.Contains(strings.Join(args, " "), "--storage.path=") {
		args = append(args, "--storage.path=")
	}
	p := run(r.t, args...)
	r.api = p.url(r.t)
	r.nodes = append(r.nodes, p)
}

// shipped checks whether the files that a command names are in the repository.
func shipped(t *testing.T, args []string) {
	t.Helper()
	line := strings.Join(args, " ")
	holdsAll := func(name string, parts ...string) {
		text := deployed(t, strings.TrimPrefix(name, "deploy/"))
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %s has no %q", line, name, part)
			}
		}
	}
	var m []string
	matches := func(pattern string) bool {
		m = regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(line)
		return m != nil
	}
	switch {
	case matches(`COMPOSE_PROFILES=([a-z]+) docker compose -f (deploy/\S+) up -d`):
		holdsAll(m[2], "profiles: ["+m[1]+"]")
	case matches(`kubectl apply -k (deploy/\S+)`):
		holdsAll(m[1]+"/kustomization.yaml", "kind: Kustomization")
	case matches(`kubectl -n (\S+) rollout (?:restart|status) ([a-z]+)/(\S+)`):
		holdsAll("deploy/kubernetes/"+m[2]+"/kustomization.yaml", "namespace: "+m[1]+"\n")
		holdsAll("deploy/kubernetes/"+m[2]+"/"+m[2]+".yaml", "\n  name: "+m[3]+"\n")
	default:
		t.Errorf("nobody can run %q here", line)
	}
}
