package servers

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// local is a server that is a process of this machine.
type local struct {
	*process.Server
	place Place
}

// Exec expands args.
func (l local) Exec(t testing.TB, args ...string) string {
	t.Helper()
	return l.Server.Exec(t, expandAll(l.place, args)...)
}

// processes makes sites for servers that the program at path runs.
func processes(t testing.TB, path string, count int) []site {
	t.Helper()
	sites := make([]site, count)
	for i := range sites {
		dir := directory(t)
		p := Place{
			Host: "127.0.0.1", Port: process.Port(t), Dir: filepath.Join(dir, "files"), Data: filepath.Join(dir, "data"),
			Name: "127.0.0.1", Peer: process.Port(t),
		}
		sites[i] = site{p, func(t testing.TB, k Kind, o Options) engine { t.Helper(); return startLocal(t, k, p, path, o) }}
	}
	return sites
}

// startLocal runs the program at path.
func startLocal(t testing.TB, k Kind, p Place, path string, o Options) engine {
	t.Helper()
	for _, d := range []string{p.Dir, p.Data} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range o.Files {
		if err := os.WriteFile(filepath.Join(p.Dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args := k.arguments(p, o)
	if k.Script != "" {
		args = slices.Concat([]string{"-c", k.Script, "sh", path}, args)
		path = "/bin/sh"
	}
	var env []string
	for name, value := range k.environment(p, o) {
		env = append(env, name+"="+value)
	}
	addr := net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
	return local{process.Start(t, process.Spec{Path: path, Args: args, Env: env, Addr: addr, Data: p.Data, Halt: k.Halt, Ready: k.Ready}), p}
}

// directory makes a directory that other users may enter, unlike t.TempDir,
// with a path short enough for a socket in it.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "servers")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// arguments returns the arguments of a server of kind k.
func (k Kind) arguments(p Place, o Options) []string {
	return slices.Concat(k.Args(p), expandAll(p, o.Args))
}

// environment returns the environment of a server of kind k.
func (k Kind) environment(p Place, o Options) map[string]string {
	env := map[string]string{}
	maps.Copy(env, k.Env)
	maps.Copy(env, o.Env)
	for name, value := range env {
		env[name] = p.expand(value)
	}
	return env
}

func expandAll(p Place, args []string) []string {
	expanded := make([]string, len(args))
	for i, a := range args {
		expanded[i] = p.expand(a)
	}
	return expanded
}
