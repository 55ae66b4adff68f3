package redis_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// local runs a Redis of this machine at an address that others can announce,
// which containers do not have.
func local(t *testing.T, args ...string) *process.Server {
	t.Helper()
	return program(t, "redis-server", "", args...)
}

func program(t *testing.T, name, config string, args ...string) *process.Server {
	t.Helper()
	path := process.Need(t, name)
	port, dir := process.Port(t), t.TempDir()
	var all []string
	if config != "" {
		all = append(all, write(t, filepath.Join(dir, "conf"), []byte(config)))
	}
	all = append(append(all, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir, "--save", ""), args...)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	return process.Start(t, process.Spec{Path: path, Args: all, Addr: addr, Data: t.TempDir(), Ready: func(ctx context.Context, addr string) error {
		c := goredis.NewClient(&goredis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1})
		defer c.Close() //nolint:errcheck // the answer counts
		if err := c.Ping(ctx).Err(); err != nil && !strings.Contains(err.Error(), "NOAUTH") {
			return err
		}
		return nil
	}})
}

// replica runs a Redis that follows master.
func replica(t *testing.T, master *process.Server, args ...string) *process.Server {
	t.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return local(t, append([]string{"--replicaof", host + " " + port}, args...)...)
}

func at(s *process.Server) map[string]string { return map[string]string{"address": s.Addr()} }

// TestReplicaIsRefused: what is published on a replica does not reach its master.
func TestReplicaIsRefused(t *testing.T) {
	t.Parallel()
	master := local(t)
	r := replica(t, master)
	refusedBy(t, driver.ErrUnavailable, at(r), nil, "replica", "master_name")
}

// TestDemotedMaster makes the master of attached nodes a replica by hand, which
// ends no connection, and a master again.
func TestDemotedMaster(t *testing.T) {
	t.Parallel()
	s, other := local(t), local(t)
	nodes := trio(t, at(s))
	host, port, _ := net.SplitHostPort(other.Addr())
	do(t, client(t, s.Addr()), "replicaof", host, port)
	detached(t, 5*time.Second, nodes...)
	testkit.Eventually(t, 20*time.Second, func() error { return detachedFor(nodes, "replica") })
	nodes[0].set.add("while there is no master")
	do(t, client(t, s.Addr()), "replicaof", "no", "one")
	agree(t, 5*time.Second, nodes...)
	hold(t, 5*time.Second, 1, nodes...)
}
