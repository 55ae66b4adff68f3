package redis_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// runProxy runs a proxy of this machine, which need not understand PING, and
// returns its address.
func runProxy(t *testing.T, program, config string, args func(file string) []string) string {
	t.Helper()
	path := process.Need(t, program)
	addr := fmt.Sprintf("127.0.0.1:%d", process.Port(t))
	file := write(t, filepath.Join(t.TempDir(), program), fmt.Appendf(nil, config, addr))
	process.Start(t, process.Spec{Path: path, Args: args(file), Addr: addr, Data: t.TempDir(), Ready: accepts})
	return addr
}

// TestProxyWithoutPubSub meets nutcracker, which ends a connection on SUBSCRIBE.
func TestProxyWithoutPubSub(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, servers.Redis(), servers.Options{})
	addr := runProxy(t, "nutcracker", "pool:\n  listen: %s\n  redis: true\n  servers:\n    - "+s.Addr()+":1\n", func(file string) []string {
		return []string{"--conf-file=" + file, fmt.Sprintf("--stats-port=%d", process.Port(t)), "--stats-addr=127.0.0.1"}
	})
	refused(t, map[string]string{"address": addr}, "address", "SUBSCRIBE", "without pub/sub")
}

// TestProxyDropsIdle puts haproxy between, which ends connections that are idle
// for less than the beats of the cluster are apart.
func TestProxyDropsIdle(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, servers.Redis(), servers.Options{})
	addr := runProxy(t, "haproxy", "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 400ms\n  timeout server 400ms\nlisten redis\n  bind %s\n  server redis "+s.Addr()+"\n",
		func(file string) []string { return []string{"-db", "-f", file} })
	slow := func(c *backend.Config) { c.Timing.Heartbeat = 2 * time.Second }
	nodes := []*member{
		open(t, "a", map[string]string{"address": addr}, slow), open(t, "b", map[string]string{"address": addr}, slow), open(t, "c", address(s), slow),
	}
	agree(t, 5*time.Second, nodes...)
	for round := range 3 {
		nodes[0].losses()
		detached(t, 5*time.Second, nodes[0])
		nodes[round].set.add(fmt.Sprint("round ", round))
		hold(t, 5*time.Second, round+1, nodes...)
	}
	t.Logf("a: %q", nodes[0].losses())
}

// TestNotRedis meets what listens on a port and is something else.
func TestNotRedis(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	refused(t, map[string]string{"address": web.Listener.Addr().String()}, "address", "does not speak Redis's protocol")

	banner := answer(t, "SSH-2.0-OpenSSH_9.2\r\n")
	refused(t, map[string]string{"address": banner}, "address", "does not speak Redis's protocol")

	memcached := answer(t, "ERROR\r\n")
	refused(t, map[string]string{"address": memcached}, "address", "does not speak Redis's protocol")

	silent := answer(t, "")
	refusedBy(t, driver.ErrUnavailable, map[string]string{"address": silent}, nil, "timeout")

	nobody := fmt.Sprintf("127.0.0.1:%d", process.Port(t))
	refusedBy(t, driver.ErrUnavailable, map[string]string{"address": nobody}, nil, "refused")
	refusedBy(t, driver.ErrUnavailable, map[string]string{"address": "no-such-host.invalid"}, nil, "no-such-host.invalid")
}

// answer serves connections that get text, and nothing more.
func answer(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func accepts(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}
