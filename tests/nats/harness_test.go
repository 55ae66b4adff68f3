package nats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

func TestMain(m *testing.M) {
	nemesis.Node()
	goleak.VerifyTestMain(m)
}

// base is the configuration of a server on which anybody is the user "app", and
// the user "sys" may look at its connections.
const base = `
accounts {
  APP { users: [{user: app, password: app}] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
no_auth_user: app
`

// start starts a server with the configuration conf.
func start(t testing.TB, conf string, args ...string) *servers.Server {
	t.Helper()
	return servers.Start(t, servers.NATS(), configured(conf, args...))
}

// startCluster starts three servers with the configuration base.
func startCluster(t testing.TB) *servers.Cluster {
	t.Helper()
	return servers.StartCluster(t, servers.NATS(), 3, configured(base))
}

func configured(conf string, args ...string) servers.Options {
	return servers.Options{
		Args:  append([]string{"-c", "{dir}/nats.conf"}, args...),
		Files: map[string][]byte{"nats.conf": []byte(conf)},
	}
}

// dial connects a stranger.
func dial(t testing.TB, addr string, options ...nats.Option) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(addr, append(options, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// subject is the subject of a cluster.
func subject(cluster string) string {
	return "clusterchannel." + strings.ReplaceAll(url.QueryEscape(cluster), ".", "%2E")
}

// connection is what a server reports about a client.
type connection struct {
	Name          string   `json:"name"`
	Subscriptions []string `json:"subscriptions_list"`
}

// connections asks a server with the configuration base for its clients.
func connections(nc *nats.Conn) ([]connection, error) {
	m, err := nc.Request("$SYS.REQ.SERVER."+nc.ConnectedServerId()+".CONNZ", []byte(`{"acc":"APP","subscriptions":true,"limit":10000}`), 5*time.Second)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Connections []connection `json:"connections"`
		} `json:"data"`
	}
	return answer.Data.Connections, json.Unmarshal(m.Data, &answer)
}

// subscribed returns the names of the clients that hear a cluster.
func subscribed(nc *nats.Conn, cluster string) ([]string, error) {
	all, err := connections(nc)
	var names []string
	for _, c := range all {
		for _, s := range c.Subscriptions {
			if s == subject(cluster) {
				names = append(names, c.Name)
			}
		}
	}
	slices.Sort(names)
	return names, err
}

// set is a State: a set of texts.
type set struct {
	mu    sync.Mutex
	items map[string]bool
	ch    backend.Channel
}

func (s *set) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for item := range s.items {
		all = append(all, item)
	}
	return json.Marshal(all)
}

func (s *set) Merge(b []byte) error {
	var all []string
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, item := range all {
		s.items[item] = true
	}
	return nil
}

func (s *set) write(t testing.TB, item string) {
	t.Helper()
	b, err := json.Marshal([]string{item})
	if err == nil {
		err = s.Merge(b)
	}
	if err == nil {
		err = s.ch.TryBroadcast(b)
	}
	if err != nil {
		t.Errorf("write: %v", err)
	}
}

func (s *set) holds(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) != n {
		return fmt.Errorf("%d entries, want %d", len(s.items), n)
	}
	return nil
}

// node is an open channel with a set on it.
type node struct {
	backend.ClusterChannel
	*set
	name string
	log  *testkit.Log
}

var timing = backend.Timing{Heartbeat: 100 * time.Millisecond, Grace: 2 * time.Second, Settle: 5 * time.Second, Sync: time.Minute}

func tryOpen(t testing.TB, name string, params map[string]string, edits ...func(*backend.Config)) (*node, error) {
	t.Helper()
	n := &node{set: &set{items: map[string]bool{}}, name: name, log: &testkit.Log{}}
	c := backend.Config{
		Backend: "nats", Cluster: "test", Name: name, Params: params, Timing: timing,
		Logger: slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, edit := range edits {
		edit(&c)
	}
	channel, err := backend.Open(t.Context(), c)
	if err != nil {
		return n, err
	}
	n.ClusterChannel = channel
	t.Cleanup(func() {
		n.close(t)
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, n.log)
		}
	})
	n.ch, err = channel.AddState("set", n.set, nil)
	return n, err
}

func open(t testing.TB, name string, params map[string]string, edits ...func(*backend.Config)) *node {
	t.Helper()
	n, err := tryOpen(t, name, params, edits...)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	return n
}

func (n *node) close(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("close %s: %v", n.name, err)
	}
}

// agree reports whether nodes are attached and list exactly themselves.
func agree(nodes ...*node) error {
	var want []string
	for _, n := range nodes {
		want = append(want, n.name)
	}
	slices.Sort(want)
	for _, n := range nodes {
		v := n.View()
		var got []string
		for _, m := range v.Members {
			got = append(got, m.Name)
		}
		if !slices.Equal(got, want) || v.Status != backend.Attached {
			return fmt.Errorf("%s is %v (%v) and lists %v, want %v", n.name, v.Status, v.Err, got, want)
		}
	}
	return nil
}

// hold reports whether each of nodes has count entries.
func hold(count int, nodes ...*node) error {
	for _, n := range nodes {
		if err := n.holds(count); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	return nil
}

// detachedSaying reports whether n is detached for a reason that holds text.
func detachedSaying(n *node, text string) error {
	if v := n.View(); v.Status != backend.Detached || v.Err == nil || !strings.Contains(v.Err.Error(), text) {
		return fmt.Errorf("%s is %v: %v; want it detached, saying %q", n.name, v.Status, v.Err, text)
	}
	return nil
}
