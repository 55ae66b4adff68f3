package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/tests/grafanapeer"
)

var redisServer = serverKind{
	binary: "redis-server",
	args: func(host, port, _, data string) []string {
		return []string{"--port", port, "--bind", host, "--dir", data, "--save", "", "--appendonly", "no"}
	},
	usage:   redisUsage,
	version: redisVersion,
}

var (
	grafana  = contender{title: "model of Grafana's peer", mesh: openModels, node: openModelToDie}
	rawRedis = raw{title: "raw go-redis", open: openRawRedis}
)

// redisInfo returns the fields of INFO.
func redisInfo(ctx context.Context, e endpoint) (map[string]string, error) {
	c := goredis.NewClient(&goredis.Options{Addr: e.Addr, MaxRetries: -1, DialerRetries: 1})
	defer c.Close() //nolint:errcheck // the answer counts
	text, err := c.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[key] = value
		}
	}
	return fields, nil
}

func redisVersion(ctx context.Context, e endpoint) (string, error) {
	info, err := redisInfo(ctx, e)
	return "Redis " + info["redis_version"], err
}

// redisUsage counts what the server did, except the messages that it delivers,
// which it does not count.
func redisUsage(ctx context.Context, e endpoint) (usage, error) {
	info, err := redisInfo(ctx, e)
	if err != nil {
		return usage{}, err
	}
	var v [5]float64
	for i, key := range []string{"total_commands_processed", "total_net_input_bytes", "total_net_output_bytes", "used_cpu_sys", "used_cpu_user"} {
		if v[i], err = float(info[key]); err != nil {
			return usage{}, err
		}
	}
	return usage{In: v[0], Bytes: v[1] + v[2], BytesIn: v[1], Server: time.Duration((v[3] + v[4]) * float64(time.Second))}, nil
}

// models is a mesh of nodes that behave like Grafana's peers.
type models struct {
	place  place
	prefix string
	nodes  []*model
}

type model struct {
	*grafanapeer.Peer
	client  *goredis.Client
	store   *store
	channel *grafanapeer.Channel
}

func openModels(p place, n int) (mesh, error) {
	m := &models{place: p, prefix: "bench-" + rand.Text()[:8]}
	for range n {
		m.add()
	}
	return m, nil
}

func openModelToDie(p place, where string) error {
	(&models{place: p, prefix: where}).add()
	return nil
}

func (m *models) add() *model {
	n := &model{client: goredis.NewClient(&goredis.Options{Addr: m.place.Server.Addr, PoolSize: 5}), store: newStore()}
	n.Peer = grafanapeer.Start(grafanapeer.Options{Client: n.client, Name: "peer-" + rand.Text(), Prefix: m.prefix, Logger: silent})
	n.channel = n.AddState("bench", n.store)
	m.nodes = append(m.nodes, n)
	return n
}

func (m *models) broadcast(b []byte) { m.nodes[0].channel.Broadcast(b) }
func (m *models) where() string      { return m.prefix }

func (m *models) burst(all [][]byte) {
	for _, b := range all {
		m.broadcast(b)
	}
}

func (m *models) stores() []*store {
	all := make([]*store, len(m.nodes))
	for i, n := range m.nodes {
		all[i] = n.store
	}
	return all
}

func (m *models) members() []int {
	counts := make([]int, len(m.nodes))
	for i, n := range m.nodes {
		counts[i] = len(n.Members())
	}
	return counts
}

func (m *models) heard() (total int64) {
	for _, n := range m.nodes {
		s := n.Stats()
		total += int64(s.UpdatesReceived + s.FullStatesReceived)
	}
	return total
}

func (m *models) join() (*store, error) {
	n := m.add()
	return n.store, n.WaitReady(context.Background())
}

func (m *models) leave() func() error {
	last := len(m.nodes) - 1
	n := m.nodes[last]
	m.nodes = m.nodes[:last]
	return func() error { return errors.Join(n.Close(), n.client.Close()) }
}

// close ends the peers without the full state that each would publish.
func (m *models) close() {
	var wg sync.WaitGroup
	for _, n := range m.nodes {
		wg.Go(func() {
			n.Kill()
			if err := n.client.Del(context.Background(), n.Name()).Err(); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
			_ = n.client.Close()
		})
	}
	wg.Wait()
}

// bareRedis is go-redis with nothing around it: each node subscribes, and the
// first publishes.
type bareRedis struct {
	channel string
	store   func() *store
	client  *goredis.Client
	subs    []*goredis.PubSub
	all     []*store
	wg      sync.WaitGroup
}

// pipelined is how many messages of a burst are sent together.
const pipelined = 500

func openRawRedis(p place, n int, s func() *store) (line, error) {
	m := &bareRedis{store: s, channel: "bench-" + rand.Text()[:8], client: goredis.NewClient(&goredis.Options{Addr: p.Server.Addr})}
	for range n {
		if err := m.add(); err != nil {
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func (m *bareRedis) add() error {
	ctx := context.Background()
	sub := m.client.Subscribe(ctx, m.channel)
	m.subs = append(m.subs, sub)
	if _, err := sub.ReceiveTimeout(ctx, 10*time.Second); err != nil {
		return err
	}
	s := m.store()
	m.all = append(m.all, s)
	m.wg.Go(func() {
		for {
			message, err := sub.ReceiveMessage(ctx)
			if err != nil {
				return
			}
			_ = s.mergeText(message.Payload) // a loss shows as missing
		}
	})
	return nil
}

func (m *bareRedis) broadcast(b []byte) {
	if err := m.client.Publish(context.Background(), m.channel, b).Err(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

func (m *bareRedis) burst(all [][]byte) {
	ctx := context.Background()
	for len(all) > 0 {
		pipe := m.client.Pipeline()
		for _, b := range all[:min(pipelined, len(all))] {
			pipe.Publish(ctx, m.channel, b)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		all = all[min(pipelined, len(all)):]
	}
}

func (m *bareRedis) stores() []*store { return m.all }

func (m *bareRedis) close() {
	for _, s := range m.subs {
		_ = s.Close() // it ends the receiver
	}
	_ = m.client.Close()
	m.wg.Wait()
}

var (
	_ mesh = (*models)(nil)
	_ line = (*bareRedis)(nil)
)
