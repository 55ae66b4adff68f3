package inputs_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/tests/findings"
)

func examine(t *testing.T, name string, params map[string]string) findings.All {
	t.Helper()
	return findings.Examine(t, name, driver.Options{Cluster: t.Name(), Params: params})
}

// TestDoctorOfNames examines nodes whose server, or peer, has a name that resolves to
// nothing, late, to many, and to something else each time.
func TestDoctorOfNames(t *testing.T) {
	dns := newNames(t)
	for name, s := range subjects {
		t.Run(name, func(t *testing.T) {
			port := fmt.Sprint(process.Port(t))
			s.run(t, "127.0.0.1", port)
			doctorOfName(t, dns, s.backend, "server.test", port, s.at("server.test:"+port))
			dns.set("server.test")
		})
	}
	t.Run("memberlist", func(t *testing.T) {
		peer, err := backend.Open(t.Context(), backend.Config{
			Backend: "memberlist", Cluster: t.Name(), Name: "a", Params: map[string]string{"listen_address": "127.0.0.1:0"}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = peer.Close(context.Background()) })
		attached(t, peer)
		_, port, err := net.SplitHostPort(peer.View().Self().Addr)
		if err != nil {
			t.Fatal(err)
		}
		params := map[string]string{"peers": "peer.test:" + port, "listen_address": "127.0.0.5:" + port}
		doctorOfName(t, dns, "memberlist", "peer.test", port, params)
		dns.set("peer.test", "127.0.0.5")
		examine(t, "memberlist", params).Say(t, "peers", driver.Warn, "all are the node itself")
	})
}

func doctorOfName(t *testing.T, dns *names, backend, host, port string, params map[string]string) {
	t.Helper()
	at := func(ip string) string { return ip + ":" + port }
	examine(t, backend, params).Say(t, "name", driver.Fail, host, "no such host", "getent hosts "+host)

	dns.set(host, "127.0.0.1")
	d := examine(t, backend, params)
	d.Say(t, "name", driver.OK, host, at("127.0.0.1"))
	d.Say(t, "tcp", driver.OK, at("127.0.0.1"))

	dns.set(host, "127.0.0.3", "127.0.0.1")
	d = examine(t, backend, params)
	d.Say(t, "name", driver.OK, at("127.0.0.1"), at("127.0.0.3"))
	d.Say(t, "tcp", driver.OK, at("127.0.0.1"))
	d.Say(t, "tcp", driver.Fail, at("127.0.0.3"), "nothing listens")

	dns.turn(host, "127.0.0.1", "127.0.0.3")
	examine(t, backend, params).Say(t, "name", driver.Warn, "the answers differ", at("127.0.0.1"), at("127.0.0.3"))
}
