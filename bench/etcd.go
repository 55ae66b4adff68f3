package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

var etcdServer = serverKind{
	binary: "etcd",
	args: func(host, port, peer, data string) []string {
		client, peers := "http://"+host+":"+port, "http://"+host+":"+peer
		return []string{
			"--name", "bench", "--data-dir", data, "--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "bench=" + peers, "--log-level", "error",
		}
	},
	monitor: "http://%s/metrics",
	usage:   etcdUsage,
	version: etcdVersion,
}

var rawEtcd = raw{title: "raw etcd put to watch", open: openRawEtcd}

func etcdVersion(ctx context.Context, e endpoint) (string, error) {
	var v struct{ Etcdserver string }
	err := get(ctx, strings.TrimSuffix(e.Monitor, "/metrics")+"/version", func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&v) })
	return "etcd " + v.Etcdserver, err
}

// etcdUsage counts gRPC messages.
func etcdUsage(ctx context.Context, e endpoint) (u usage, err error) {
	err = get(ctx, e.Monitor, func(r *http.Response) error {
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			series, value, _ := strings.Cut(lines.Text(), " ")
			name, _, _ := strings.Cut(series, "{")
			to, in := (*float64)(nil), false
			switch name {
			case "grpc_server_msg_received_total":
				to = &u.In
			case "grpc_server_msg_sent_total":
				to = &u.Out
			case "etcd_network_client_grpc_received_bytes_total":
				to, in = &u.Bytes, true
			case "etcd_network_client_grpc_sent_bytes_total":
				to = &u.Bytes
			default:
				continue
			}
			v, err := float(value)
			if err != nil {
				return err
			}
			*to += v
			if in {
				u.BytesIn += v
			}
		}
		return lines.Err()
	})
	return u, err
}

// bareEtcd is the client with nothing around it: each node watches one key, and
// the first puts, one value after the other.
type bareEtcd struct {
	key     string
	store   func() *store
	clients []*clientv3.Client
	all     []*store
	wg      sync.WaitGroup
}

func openRawEtcd(p place, n int, s func() *store) (line, error) {
	m := &bareEtcd{store: s, key: "bench-" + rand.Text()[:8]}
	for range n {
		if err := m.add(p.Server.Addr); err != nil {
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func (m *bareEtcd) add(addr string) error {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	s := m.store()
	m.clients, m.all = append(m.clients, c), append(m.all, s)
	events := c.Watch(c.Ctx(), m.key, clientv3.WithCreatedNotify())
	if created, ok := <-events; !ok || created.Err() != nil {
		return fmt.Errorf("watch: %w", created.Err())
	}
	m.wg.Go(func() {
		for r := range events {
			for _, e := range r.Events {
				_ = s.Merge(e.Kv.Value) // a loss shows as missing
			}
		}
	})
	return nil
}

func (m *bareEtcd) broadcast(b []byte) {
	if _, err := m.clients[0].Put(context.Background(), m.key, string(b)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

func (m *bareEtcd) burst(all [][]byte) {
	for _, b := range all {
		m.broadcast(b)
	}
}

func (m *bareEtcd) stores() []*store { return m.all }

func (m *bareEtcd) close() {
	if len(m.clients) > 0 {
		_, _ = m.clients[0].Delete(context.Background(), m.key) // for a server that stays
	}
	for _, c := range m.clients {
		_ = c.Close() // it ends the watch
	}
	m.wg.Wait()
}

var _ line = (*bareEtcd)(nil)
