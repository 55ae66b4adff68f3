package nats_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// listen accepts connections, greets with text, and reads on.
func listen(t testing.TB, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close() //nolint:errcheck // nothing is sent after the greeting
				if _, err := io.WriteString(conn, text); err == nil {
					_, _ = io.Copy(io.Discard, conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// TestAnotherKindOfServer: another server on the port is reported, and no node
// hangs.
func TestAnotherKindOfServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, addr, text string }{
		{"one that speaks first", listen(t, "SSH-2.0-OpenSSH_9.2\r\n"), "no NATS server"},
		{"one that is silent", listen(t, ""), "nothing answers there as a NATS server does"},
		{"redis", servers.Start(t, servers.Redis(), servers.Options{}).Addr(), "nothing answers there as a NATS server does"},
		{"none", fmt.Sprintf("127.0.0.1:%d", process.Port(t)), "connection refused"},
	} {
		params := map[string]string{"servers": c.addr}
		n := open(t, "a", params)
		testkit.Eventually(t, 20*time.Second, func() error { return detachedSaying(n, c.text) })
		if err := detachedSaying(n, c.addr); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		_, err := tryOpen(t, "strict", params, func(c *backend.Config) { c.OnStartFailure = backend.Fail })
		if !errors.Is(err, backend.ErrUnavailable) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s, with the policy to fail: %v, want ErrUnavailable that says %q", c.name, err, c.text)
		}
	}
}
