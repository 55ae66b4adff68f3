package etcd_test

import (
	"bufio"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestServerOfAnotherKind lets something else listen on the port. If it looks
// like an etcd that is starting, that is no error of configuration.
func TestServerOfAnotherKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		addr   func(t testing.TB) string
		refuse bool   // Open fails
		says   string // where is told
	}{
		"redis":  {speaker("-ERR unknown command\r\n"), true, "does not speak etcd's protocol"},
		"nats":   {speaker("INFO {\"server_id\":\"x\"}\r\n"), true, "does not speak etcd's protocol"},
		"closes": {speaker("\n"), false, "is no etcd"},
		"silent": {speaker(""), false, "no answer within"},
		"nobody": {func(testing.TB) string { return "127.0.0.1:1" }, false, "connection refused"},
		"http": {func(t testing.TB) string {
			s := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(s.Close)
			return s.Listener.Addr().String()
		}, true, "endpoints"},
		"tls": {func(t testing.TB) string {
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
			s.StartTLS()
			t.Cleanup(s.Close)
			return s.Listener.Addr().String()
		}, false, "wants tls"},
		"grpc": {func(t testing.TB) string {
			l := listen(t)
			s := grpc.NewServer()
			var wg sync.WaitGroup
			wg.Go(func() { _ = s.Serve(l) })
			t.Cleanup(func() { s.Stop(); wg.Wait() })
			return l.Addr().String()
		}, true, "endpoints"},
	} {
		t.Run(name, func(t *testing.T) {
			params := endpoints(c.addr(t))
			params["dial_timeout"] = "500ms"
			n, err := tryOpen("a", params)
			if err == nil {
				defer n.close(t)
			}
			if c.refuse {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("Open: %v, want an error with %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, 20*time.Second, func() error { return n.detached(c.says) })
		})
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// speaker is a server that answers everything by text, and hangs up.
func speaker(text string) func(t testing.TB) string {
	return func(t testing.TB) string {
		l := listen(t)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer conn.Close() //nolint:errcheck // it has said all
					if text == "" {
						<-stop
						return
					}
					_, _ = bufio.NewReader(conn).ReadString('\n')
					_, _ = conn.Write([]byte(text))
				})
			}
		})
		t.Cleanup(func() { close(stop); _ = l.Close(); wg.Wait() })
		return l.Addr().String()
	}
}
