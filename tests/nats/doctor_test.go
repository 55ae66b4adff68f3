package nats_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/tests/findings"
)

// examine lets the doctor examine a node.
func examine(t *testing.T, params map[string]string) findings.All {
	t.Helper()
	return findings.Examine(t, "nats", driver.Options{Cluster: "test", Params: params})
}

// startPublic starts a cluster of servers that announce each other to clients.
func startPublic(t *testing.T, more ...string) (all []*local) {
	t.Helper()
	var routes []string
	for i, conf := range more {
		port := process.Port(t)
		all = append(all, startLocal(t, base+fmt.Sprintf(`
server_name: "server-%d"
lame_duck_duration: 30s
lame_duck_grace_period: 10s
%s
cluster { name: public, listen: "127.0.0.1:%d", routes: [%s] }`, i, conf, port, strings.Join(routes, ", "))))
		routes = append(routes, fmt.Sprintf(`"nats://127.0.0.1:%d"`, port))
	}
	first := dial(t, all[0].Addr())
	testkit.Eventually(t, 20*time.Second, func() error {
		if known := first.Servers(); len(known) != len(more) {
			return fmt.Errorf("%s announces %v", all[0].Addr(), known)
		}
		return nil
	})
	return all
}

// greeting returns the line that a server says first.
func greeting(t *testing.T, s *local) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it was read only
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// addresses returns parameters for servers at addrs.
func addresses(addrs ...string) map[string]string {
	return map[string]string{"servers": strings.Join(addrs, ",")}
}

// TestDoctorOfCluster examines a cluster of servers that is whole, one of which a
// node cannot reach, and one of which is in lame duck mode; and servers that are no
// cluster.
func TestDoctorOfCluster(t *testing.T) {
	t.Parallel()
	hidden := fmt.Sprintf("127.0.0.1:%d", process.Port(t))
	all := startPublic(t, "", "", `client_advertise: "`+hidden+`"`)
	whole := addresses(all[0].Addr(), all[1].Addr(), all[2].Addr())
	d := examine(t, whole)
	d.Say(t, "cluster", driver.OK, "publish at", "heard after")
	d.Say(t, "account", driver.OK, "server-", "connections")
	d.Say(t, "slow consumers", driver.OK, "none")

	d = examine(t, addresses(all[0].Addr(), hidden))
	d.Say(t, "lame duck", driver.Warn, hidden, "let TCP through")

	all[1].Exec(t, "nats-server", "--signal", "ldm="+all[1].path("pid"))
	testkit.Eventually(t, 20*time.Second, func() error {
		conn, err := net.Dial("tcp", all[1].Addr())
		if err == nil {
			return errors.Join(errors.New("it still accepts clients"), conn.Close())
		}
		for _, other := range []*local{all[0], all[2]} { // it tells them later
			if strings.Contains(greeting(t, other), all[1].Addr()) {
				return fmt.Errorf("%s still announces it", other.Addr())
			}
		}
		return nil
	})
	d = examine(t, whole)
	d.Say(t, "tcp", driver.Fail, all[1].Addr())
	d.Say(t, "lame duck", driver.Warn, all[1].Addr(), "Entering lame duck mode")
	if !strings.Contains(all[1].Logs(), "Entering lame duck mode") {
		t.Error("the server's log does not say what the doctor wants to be looked for")
	}

	lone := startLocal(t, base)
	examine(t, addresses(all[0].Addr(), lone.Addr())).Say(t, "cluster", driver.Fail, "not delivered", "of one cluster")
}

// TestDoctorOfLeafNode examines a hub and its leaf node, joined and parted.
func TestDoctorOfLeafNode(t *testing.T) {
	t.Parallel()
	leafs := process.Port(t)
	hub := startLocal(t, fmt.Sprintf(`leafnodes { listen: "127.0.0.1:%d", no_advertise: true }`, leafs))
	between, err := netfault.Listen(func() string { return fmt.Sprintf("127.0.0.1:%d", leafs) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = between.Close() })
	leaf := startLocal(t, `leafnodes { reconnect: 1, remotes: [{url: "nats://`+between.Addr()+`"}] }`)
	nodes := []*node{open(t, "a", hub.at()), open(t, "b", leaf.at())}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	both := addresses(hub.Addr(), leaf.Addr())
	d := examine(t, both)
	d.Say(t, "leaf nodes", driver.OK, "1 at ")
	d.Say(t, "cluster", driver.OK, "heard after")

	between.Set(netfault.Refuse)
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(nodes[0]), agree(nodes[1])) })
	d = examine(t, both)
	d.Say(t, "leaf nodes", driver.OK, "none", "its log says why")
	d.Say(t, "cluster", driver.Fail, "leaf node and hub")
}

// TestDoctorOfSlowConsumer finds out that a server has ended the connection of a
// client that does not read, unless the user must not ask.
func TestDoctorOfSlowConsumer(t *testing.T) {
	t.Parallel()
	s := startLocal(t, `
max_pending: 1MB
authorization { users: [
  {user: free, password: free}
  {user: least, password: least, permissions: {publish: ["clusterchannel.test", "clusterchannel.test.*"], subscribe: ["clusterchannel.test", "clusterchannel.test.*"]}}
] }`)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprint(conn, "CONNECT {\"user\":\"free\",\"pass\":\"free\"}\r\nSUB flood 1\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	as := func(user string) map[string]string { return s.at("username", user, "password", user) }
	examine(t, as("free")).Say(t, "slow consumers", driver.OK, "none")
	from := dial(t, "nats://free:free@"+s.Addr())
	testkit.Eventually(t, 20*time.Second, func() error {
		for range 16 {
			if err := from.Publish("flood", make([]byte, 512<<10)); err != nil {
				return err
			}
		}
		if !strings.Contains(s.Logs(), "Slow Consumer") {
			return errors.New("the server has found no slow consumer")
		}
		return nil
	})
	examine(t, as("free")).Say(t, "slow consumers", driver.Warn, "did not keep up", "1 by ", "write_deadline")
	examine(t, as("least")).Say(t, "account", driver.Skip, "must not ask", "Slow Consumer")
}
