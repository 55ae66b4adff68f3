package nats_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// local is a server whose configuration changes.
type local struct {
	*process.Server
	dir string
}

// startLocal starts a server of this machine with the configuration conf, in
// which "{dir}" stands for a directory of its own.
func startLocal(t testing.TB, conf string, files ...string) *local {
	t.Helper()
	return startLocalAt(t, process.Port(t), conf, files...)
}

// startLocalAt does so on a port that is known beforehand. files are names and
// contents in turn.
func startLocalAt(t testing.TB, port int, conf string, files ...string) *local {
	t.Helper()
	path := process.Need(t, "nats-server")
	l := &local{dir: t.TempDir()}
	for i := 0; i+1 < len(files); i += 2 {
		l.write(t, files[i], files[i+1])
	}
	l.write(t, "nats.conf", conf)
	l.Server = process.Start(t, process.Spec{
		Path: path, Addr: fmt.Sprintf("127.0.0.1:%d", port), Data: t.TempDir(),
		Args:  []string{"--addr", "127.0.0.1", "--port", fmt.Sprint(port), "--pid", l.path("pid"), "-c", l.path("nats.conf")},
		Ready: greets,
	})
	return l
}

// greets reports whether a NATS server says who it is.
func greets(ctx context.Context, addr string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it was read only
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "INFO ") {
		err = fmt.Errorf("%q", line)
	}
	return err
}

func (l *local) path(name string) string { return filepath.Join(l.dir, name) }

func (l *local) write(t testing.TB, name, content string) {
	t.Helper()
	content = strings.ReplaceAll(content, "{dir}", l.dir)
	if err := os.WriteFile(l.path(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload makes the server read a new configuration.
func (l *local) reload(t testing.TB, conf string) {
	t.Helper()
	l.write(t, "nats.conf", conf)
	l.Exec(t, "nats-server", "--signal", "reload="+l.path("pid"))
}

// at returns parameters for the server.
func (l *local) at(more ...string) map[string]string {
	p := map[string]string{"servers": l.Addr()}
	for i := 0; i+1 < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	return p
}
