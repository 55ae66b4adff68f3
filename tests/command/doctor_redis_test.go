package command_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	local "github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// localRedis runs redis-server or redis-sentinel on this machine, where each sees
// the others as the test does.
func localRedis(t *testing.T, program string, args ...string) *local.Server {
	t.Helper()
	path := local.Need(t, program)
	port := local.Port(t)
	return local.Start(t, local.Spec{
		Path: path, Addr: fmt.Sprintf("127.0.0.1:%d", port), Data: t.TempDir(),
		Args: append(args, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", ""),
		Ready: func(ctx context.Context, addr string) error {
			c := goredis.NewClient(&goredis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1})
			defer c.Close() //nolint:errcheck // the answer counts
			if err := c.Ping(ctx).Err(); err != nil && !strings.Contains(err.Error(), "NOAUTH") {
				return err
			}
			return nil
		},
	})
}

// sentinelOf runs a Sentinel that knows a master as main, and holds it alive
// whatever happens.
func sentinelOf(t *testing.T, master string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		t.Fatal(err)
	}
	conf := file(t, "sentinel.conf", fmt.Sprintf(
		"sentinel monitor main %s %s 1\nsentinel auth-pass main %s\nsentinel down-after-milliseconds main 600000\nrequirepass watch-%[3]s\n", host, port, secret))
	return localRedis(t, "redis-sentinel", conf).Addr()
}

// TestDoctorSentinel asks Sentinels that agree, and others that do not, or
// whose master is gone.
func TestDoctorSentinel(t *testing.T) {
	t.Parallel()
	master := localRedis(t, "redis-server", "--requirepass", secret)
	one, two := sentinelOf(t, master.Addr()), sentinelOf(t, master.Addr())
	params := func(addresses, name, watch string) map[string]string {
		return map[string]string{"address": addresses, "master_name": name, "password": secret, "sentinel_password": watch}
	}
	args := func(addresses, name, watch string) []string {
		all := []string{"--cluster.backend=redis", "--cluster.name=c"}
		for key, value := range params(addresses, name, watch) {
			all = append(all, "--cluster.param="+key+"="+value)
		}
		return all
	}
	const watch = "watch-" + secret
	both := one + "," + two
	seat(t, backend.Config{Backend: "redis", Cluster: "c", Name: "resident", Params: params(both, "main", watch)})
	d := doctor(t, args(both, "main", watch)...)
	if d.code != 0 {
		t.Errorf("exit code %d:\n%s", d.code, d)
	}
	for _, sentinel := range []string{one, two} {
		d.has(t, "tcp", "ok", sentinel)
		d.has(t, "sentinel", "ok", sentinel, master.Addr())
	}
	d.has(t, "tcp", "ok", master.Addr())
	for _, name := range []string{"protocol", "auth", "acl", "pubsub", "output buffer", "delivery"} {
		d.has(t, name, "ok")
	}
	d.has(t, "members", "ok", "1: resident")

	lone := localRedis(t, "redis-server", "--requirepass", secret)
	elsewhere := sentinelOf(t, lone.Addr())
	for _, s := range []sick{
		{"unknown master", args(both, "other", watch), "sentinel", []string{`"other"`, "no such master", "master_name"}},
		{"refused by Sentinel", args(one, "main", "wrong"), "sentinel", []string{one, "sentinel_password"}},
		{"Sentinels disagree", args(one+","+elsewhere, "main", watch), "sentinel", []string{master.Addr(), lone.Addr(), "different masters"}},
		{"one Sentinel is down", args(one+","+freeAddress(t), "main", watch), "tcp", []string{"nothing listens"}},
	} {
		s.test(t)
	}
	lone.Kill(t)
	sick{"master is down", args(elsewhere, "main", watch), "tcp", []string{lone.Addr(), "nothing listens"}}.test(t)
}

// TestDoctorReplica is given the address of a replica, which accepts frames
// that its master does not hear.
func TestDoctorReplica(t *testing.T) {
	t.Parallel()
	host, port, err := net.SplitHostPort(localRedis(t, "redis-server").Addr())
	if err != nil {
		t.Fatal(err)
	}
	addr := localRedis(t, "redis-server", "--replicaof", host+" "+port).Addr()
	for _, wire := range []string{"native", "grafana"} {
		sick{wire, []string{"redis://" + addr + "?cluster=c&wire=" + wire}, "pubsub", []string{"replica", "master's address"}}.test(t)
	}
}

// TestDoctorUndelivered meets a proxy that sends subscriptions to one server
// and all else to another: each frame is accepted, and none is delivered.
func TestDoctorUndelivered(t *testing.T) {
	t.Parallel()
	addr := split(t, servers.Start(t, servers.Redis(), servers.Options{}).Addr(), servers.Start(t, servers.Redis(), servers.Options{}).Addr())
	for _, wire := range []string{"native", "grafana"} {
		sick{wire, []string{"redis://" + addr + "?cluster=c&wire=" + wire}, "delivery", []string{"not delivered", "not one cluster"}}.test(t)
	}
}

// split is a proxy before two servers: one has the subscriptions.
func split(t *testing.T, subscriptions, others string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var pumps sync.WaitGroup
	serve := func(client net.Conn) {
		defer client.Close() //nolint:errcheck // the client may be gone
		defer context.AfterFunc(ctx, func() { _ = client.Close() })()
		var servers [2]net.Conn
		for i, addr := range []string{subscriptions, others} {
			server, err := net.Dial("tcp", addr)
			if err != nil {
				return // the client learns it by the end
			}
			defer server.Close() //nolint:errcheck // nothing more is sent
			servers[i] = server
			pumps.Go(func() { _, _ = io.Copy(client, server) }) // until one of them ends
		}
		b := make([]byte, 64<<10)
		for {
			n, err := client.Read(b)
			if err != nil {
				return // the client has ended
			}
			to := servers[1]
			if bytes.Contains(bytes.ToLower(b[:n]), []byte("subscribe")) {
				to = servers[0]
			}
			if _, err := to.Write(b[:n]); err != nil {
				return // the server has ended
			}
		}
	}
	pumps.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			pumps.Go(func() { serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		stop()
		pumps.Wait()
	})
	return l.Addr().String()
}
