package redis_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// sentinels are a master, two replicas and three Sentinels.
type sentinels struct {
	data  []*process.Server
	watch []*process.Server
}

func newSentinels(t *testing.T) *sentinels {
	t.Helper()
	auth := []string{"--requirepass", secret, "--masterauth", secret, "--repl-ping-replica-period", "1", "--repl-timeout", "5", "--repl-diskless-sync-delay", "0"}
	master := local(t, auth...)
	l := &sentinels{data: []*process.Server{master, replica(t, master, auth...), replica(t, master, auth...)}}
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Join([]string{
		fmt.Sprintf("sentinel monitor main %s %s 2", host, port), "sentinel auth-pass main " + secret,
		"sentinel down-after-milliseconds main 1000", "sentinel failover-timeout main 5000", "requirepass sentinel-" + secret, "",
	}, "\n")
	for range 3 {
		l.watch = append(l.watch, program(t, "redis-sentinel", config))
	}
	return l
}

func (l *sentinels) params() map[string]string {
	var all []string
	for _, s := range l.watch {
		all = append(all, s.Addr())
	}
	return map[string]string{"address": strings.Join(all, ","), "master_name": "main", "password": secret, "sentinel_password": "sentinel-" + secret}
}

// ready waits until the Sentinels know each other and the replicas.
func (l *sentinels) ready(t testing.TB) {
	t.Helper()
	for _, s := range l.watch {
		c := goredis.NewSentinelClient(&goredis.Options{Addr: s.Addr(), Password: "sentinel-" + secret, MaxRetries: -1})
		testkit.Eventually(t, 20*time.Second, func() error {
			m, err := c.Master(t.Context(), "main").Result()
			if err == nil && (m["num-slaves"] != "2" || m["num-other-sentinels"] != "2" || m["flags"] != "master") {
				err = fmt.Errorf("%s knows %s replicas, %s Sentinels, %s", s.Addr(), m["num-slaves"], m["num-other-sentinels"], m["flags"])
			}
			return err
		})
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func (l *sentinels) master(t testing.TB) string {
	t.Helper()
	c := goredis.NewSentinelClient(&goredis.Options{Addr: l.watch[2].Addr(), Password: "sentinel-" + secret, MaxRetries: -1})
	defer c.Close() //nolint:errcheck // it only asked
	addr, err := c.GetMasterAddrByName(t.Context(), "main").Result()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(addr[0], addr[1])
}

func (l *sentinels) client(t *testing.T, addr string) *goredis.Client {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: addr, Password: secret, MaxRetries: -1})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// follower returns a client of the master of the moment: on a busy machine the
// Sentinels may soon elect another.
func (l *sentinels) follower(t *testing.T) *goredis.Client {
	t.Helper()
	p := l.params()
	c := goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: p["master_name"], SentinelAddrs: strings.Split(p["address"], ","),
		Password: p["password"], SentinelPassword: p["sentinel_password"],
	})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// connections counts those of clients named node.
func connections(t *testing.T, c *goredis.Client) int {
	t.Helper()
	return strings.Count(do(t, c, "client", "list").(string), "name=node ")
}

// TestSentinel fails a master over: by a crash, and by order, after which the
// old master lives on as a replica. At last two of three Sentinels are away.
func TestSentinel(t *testing.T) {
	t.Parallel()
	l := newSentinels(t)
	l.ready(t)
	for key, value := range map[string]string{"master_name": "others", "password": "wrong", "sentinel_password": "wrong"} {
		p := l.params()
		p[key] = value
		refused(t, p, key)
	}
	refused(t, map[string]string{"address": l.watch[0].Addr(), "password": "sentinel-" + secret}, "address", "Sentinel", "master_name")

	named := l.params()
	named["client_name"] = "node"
	nodes := trio(t, named)
	if n := connections(t, l.client(t, l.data[0].Addr())); n != 2*len(nodes) {
		t.Errorf("%d nodes have %d connections to the master, want two each", len(nodes), n)
	}
	watching := 0
	for _, s := range l.watch {
		c := goredis.NewClient(&goredis.Options{Addr: s.Addr(), Password: "sentinel-" + secret, MaxRetries: -1})
		watching += connections(t, c)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if watching != len(l.watch)*len(nodes) {
		t.Errorf("%d nodes have %d connections to %d Sentinels, want one to each", len(nodes), watching, len(l.watch))
	}
	crashed := l.data[0]
	crashed.Kill(t)
	nodes[0].set.add("while there is no master")
	detached(t, 5*time.Second, nodes...)
	agree(t, 20*time.Second, nodes...)
	hold(t, 10*time.Second, 1, nodes...)
	first := l.master(t)
	if first == crashed.Addr() {
		t.Fatal("the master is the old one")
	}

	crashed.Start(t)
	for _, n := range nodes {
		n.losses()
	}
	ordered := goredis.NewSentinelClient(&goredis.Options{Addr: l.watch[0].Addr(), Password: "sentinel-" + secret, MaxRetries: -1})
	defer ordered.Close() //nolint:errcheck // it only ordered
	testkit.Eventually(t, 20*time.Second, func() error { return ordered.Failover(t.Context(), "main").Err() })
	testkit.Eventually(t, 20*time.Second, func() error {
		if l.master(t) == first {
			return fmt.Errorf("the master is still %s", first)
		}
		return nil
	})
	detached(t, 30*time.Second, nodes...) // when the old master is told
	nodes[1].set.add("after the order")
	agree(t, 20*time.Second, nodes...)
	hold(t, 10*time.Second, 2, nodes...)
	for _, n := range nodes {
		t.Logf("%s: %q", n.name, n.losses())
	}

	if n := connections(t, l.client(t, l.master(t))); n != 2*len(nodes) {
		t.Errorf("%d nodes have %d connections to the new master, want two each", len(nodes), n)
	}

	l.watch[0].Kill(t)
	l.watch[1].Kill(t)
	do(t, l.client(t, l.master(t)), "client", "kill", "type", "pubsub")
	agree(t, 10*time.Second, nodes...)
	nodes[2].set.add("with one Sentinel")
	hold(t, 10*time.Second, 3, nodes...)
	if logs := nodes[0].logs.String() + nodes[1].logs.String() + nodes[2].logs.String(); !strings.Contains(logs, "library=go-redis") {
		t.Error("no line of go-redis is in the logs")
	}
}
