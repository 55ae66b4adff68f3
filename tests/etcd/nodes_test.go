package etcd_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// cluster is the name of the nodes' cluster.
const cluster = "c"

// node is a channel with a state that is a set of words.
type node struct {
	backend.ClusterChannel
	channel backend.Channel
	reg     *prometheus.Registry
	log     *log

	mu    sync.Mutex
	words map[string]bool
}

// open opens a node that is closed at the end of t, if not before.
func open(t testing.TB, name string, params map[string]string, edits ...func(*backend.Config)) *node {
	t.Helper()
	n, err := tryOpen(name, params, edits...)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	t.Cleanup(func() {
		n.close(t)
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, n.log)
		}
	})
	return n
}

func tryOpen(name string, params map[string]string, edits ...func(*backend.Config)) (*node, error) {
	n := &node{reg: prometheus.NewRegistry(), log: &log{}, words: map[string]bool{}}
	c := backend.Config{
		Backend: "etcd", Cluster: cluster, Name: name, Params: params, Registerer: n.reg,
		Logger: slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Timing: backend.Timing{Grace: time.Minute, Sync: time.Minute},
	}
	for _, edit := range edits {
		edit(&c)
	}
	var err error
	if n.ClusterChannel, err = backend.Open(context.Background(), c); err != nil {
		return n, err
	}
	n.channel, err = n.AddState("words", n, nil)
	return n, err
}

// close closes the node.
func (n *node) close(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// say adds a word, and broadcasts it.
func (n *node) say(word string) {
	n.mu.Lock()
	n.words[word] = true
	n.mu.Unlock()
	n.channel.Broadcast([]byte(word))
}

// MarshalBinary implements backend.State.
func (n *node) MarshalBinary() ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return []byte(strings.Join(slices.Sorted(maps.Keys(n.words)), "\n")), nil
}

// Merge implements backend.State.
func (n *node) Merge(b []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for word := range strings.SplitSeq(string(b), "\n") {
		n.words[word] = true
	}
	return nil
}

func (n *node) heard(words ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, word := range words {
		if !n.words[word] {
			return fmt.Errorf("%.40q was not heard", word)
		}
	}
	return nil
}

// forget removes a word from the state.
func (n *node) forget(word string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.words, word)
}

// sees reports whether n lists exactly those names.
func (n *node) sees(names ...string) error {
	var have []string
	for _, m := range n.Members() {
		have = append(have, m.Name)
	}
	if !slices.Equal(have, names) {
		return fmt.Errorf("the members are %v, want %v", have, names)
	}
	return nil
}

func (n *node) status(want backend.Status) error {
	if v := n.View(); v.Status != want {
		return fmt.Errorf("it is %v, want %v: %v", v.Status, want, v.Err)
	}
	return nil
}

// detached reports whether n is, and says why with those texts.
func (n *node) detached(texts ...string) error {
	v := n.View()
	lacks := func(text string) bool { return !strings.Contains(v.Err.Error(), text) }
	if v.Status != backend.Detached || v.Err == nil || slices.ContainsFunc(texts, lacks) {
		return fmt.Errorf("it is %v: %v, want it detached, with %q", v.Status, v.Err, texts)
	}
	return nil
}

// agree reports whether nodes are attached and see each other, and nobody else.
func agree(nodes ...*node) error {
	var names []string
	for _, n := range nodes {
		names = append(names, n.View().Self().Name)
	}
	for _, n := range nodes {
		if err := n.status(backend.Attached); err != nil {
			return err
		}
		if err := n.sees(names...); err != nil {
			return err
		}
	}
	return nil
}

// talk makes each node say a word that all must hear.
func talk(t testing.TB, word string, nodes ...*node) {
	t.Helper()
	for i, n := range nodes {
		n.say(fmt.Sprintf("%s-%d", word, i))
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		for _, n := range nodes {
			for i := range nodes {
				if err := n.heard(fmt.Sprintf("%s-%d", word, i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// metric sums the samples of a counter.
func (n *node) metric(t testing.TB, name string) float64 {
	t.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// log keeps what a node logs.
type log struct{ testkit.Log }

func (l *log) has(text string) error {
	if !strings.Contains(l.String(), text) {
		return fmt.Errorf("%q is not logged", text)
	}
	return nil
}

// proxy stands between one node and a server.
func proxy(t testing.TB, addr func() string) *netfault.Proxy {
	t.Helper()
	p, err := netfault.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func endpoints(addrs ...string) map[string]string {
	return map[string]string{"endpoints": strings.Join(addrs, ",")}
}

// steadily fails t if look fails once before stop is called.
func steadily(t testing.TB, look func() error) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			if err := look(); err != nil {
				t.Errorf("not steady: %v", err)
				return
			}
		}
	})
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}
