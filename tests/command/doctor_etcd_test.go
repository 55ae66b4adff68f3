package command_test

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
)

// TestDoctorEtcdUncompacted looks at a server that nobody has compacted for more
// than a hundred thousand revisions, whose store is nearly full of them, and whose
// leases are longer than what is asked for.
func TestDoctorEtcdUncompacted(t *testing.T) {
	t.Parallel()
	server := servers.Start(t, servers.Etcd(), servers.Options{Args: []string{
		"--unsafe-no-fsync", "--quota-backend-bytes", "58720256", "--heartbeat-interval", "500", "--election-timeout", "5000",
	}})
	client := etcdAdmin(t, server.Addr(), "", "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	value := strings.Repeat("x", 400)
	var writers sync.WaitGroup
	for range 100 {
		writers.Go(func() {
			for range 1001 {
				if _, err := client.Put(ctx, "k", value); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	d := doctor(t, "etcd://"+server.Addr()+"?cluster=c")
	d.has(t, "compaction", "warn", "nobody compacts", "--auto-compaction-retention")
	d.has(t, "lease", "warn", "ask for a lease of 2s", "election timeout")
	d.has(t, "quota", "warn", "nearly full", "etcdctl compact")
	d.has(t, "delivery", "ok")
}

// TestDoctorEtcdClusters is given endpoints of two etcd clusters, of one that has
// lost its majority, and frames that take much memory.
func TestDoctorEtcdClusters(t *testing.T) {
	t.Parallel()
	one, other := servers.Start(t, servers.Etcd(), servers.Options{}), servers.Start(t, servers.Etcd(), servers.Options{})
	d := doctor(t, "etcd://"+one.Addr()+","+other.Addr()+"?cluster=c&max_frame=1MiB")
	d.has(t, "cluster", "fail", one.Addr(), other.Addr(), "etcdctl member list")
	d.has(t, "memory", "warn", "5000 writes of 1MiB", "lower max_frame")

	three := servers.StartCluster(t, servers.Etcd(), 3, servers.Options{})
	addrs := strings.Join(three.Addrs(), ",")
	d = doctor(t, "etcd://"+addrs+"?cluster=c")
	d.has(t, "cluster", "ok", "it is there")
	d.has(t, "memory", "ok", "5000 writes of 64KiB")
	three.Members()[1].Stop(t)
	three.Members()[2].Stop(t)
	d = doctor(t, "etcd://"+three.Addrs()[0]+"?cluster=c")
	d.has(t, "auth", "fail", "lost its majority")
}

// TestDoctorEtcdTLS examines servers whose certificates are sound, expired, and
// of an unknown authority.
func TestDoctorEtcdTLS(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	trust := "&tls=true&tls_ca_file=" + file(t, "ca.pem", string(ca.PEM))
	serve := func(until time.Time) string {
		cert, key := ca.IssueUntil(t, until)
		s := servers.Start(t, servers.Etcd(), servers.Options{
			Args: []string{
				"--listen-client-urls", "https://{host}:{port}", "--advertise-client-urls", "https://{host}:{port}",
				"--cert-file", "{dir}/cert.pem", "--key-file", "{dir}/key.pem",
			},
			Files: map[string][]byte{"cert.pem": cert, "key.pem": key},
			Ready: func(ctx context.Context, addr string) error {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, TLS: &tls.Config{InsecureSkipVerify: true}, Context: ctx, Logger: zap.NewNop()})
				if err != nil {
					return err
				}
				defer c.Close() //nolint:errcheck // it was for one question
				_, err = c.Get(ctx, "x")
				return err
			},
		})
		return "etcd://" + s.Addr() + "?cluster=c"
	}
	certificates(t, trust, serve)
}
