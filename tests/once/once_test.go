// Package once_test has work done once on a real server, and kept in a real database.
package once_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	_ "github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/once"
	"github.com/clusterchannel/clusterchannel/persist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

var quiet = slog.New(slog.DiscardHandler)

// node is one node, and what it counts.
type node struct {
	name     string
	group    *once.Group
	registry *prometheus.Registry
}

// open opens nodes of a cluster that have met.
func open(t *testing.T, o once.Options, server *servers.Server, names ...string) (nodes []*node) {
	t.Helper()
	for _, name := range names {
		n := &node{name: name, registry: prometheus.NewRegistry()}
		cluster, err := backend.Open(t.Context(), backend.Config{
			Backend: "redis", Cluster: "once", Name: name, Params: map[string]string{"address": server.Addr()}, Logger: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Registerer, o.Logger = n.registry, quiet
		if n.group, err = once.New(cluster, &o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			closes(t, n.group.Close)
			closes(t, cluster.Close)
		})
		nodes = append(nodes, n)
		defer func() {
			testkit.Eventually(t, patience, func() error {
				if have := len(cluster.Members()); have != len(names) {
					return fmt.Errorf("%s has %d members", name, have)
				}
				return cluster.WaitReady(t.Context())
			})
		}()
	}
	return nodes
}

func closes(t *testing.T, closeIt func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := closeIt(ctx); err != nil {
		t.Error(err)
	}
}

// keyFor returns the nth key of which the order is that of the names.
func keyFor(nth int, names ...string) string {
	v := backend.View{}
	for _, name := range names {
		v.Members = append(v.Members, backend.Member{Name: name, Instance: name})
	}
	for i := 0; ; i++ {
		key, at, same := fmt.Sprintf("key-%d-%d", nth, i), 0, true
		for m := range v.Order(key) {
			same = same && m.Name == names[at]
			at++
		}
		if same {
			return key
		}
	}
}

// book notes who did what.
type book struct {
	mu   sync.Mutex
	done map[string][]string
}

func (b *book) work(key, name string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.done[key] = append(b.done[key], name)
		return []byte(name), nil
	}
}

func (b *book) doubled() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, names := range b.done {
		n += len(names) - 1
	}
	return n
}

// counted is what the nodes count of work that was done twice.
func counted(t *testing.T, nodes []*node) (n int) {
	t.Helper()
	for _, node := range nodes {
		families, err := node.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "clusterchannel_once_doubled_total" {
				n += int(f.GetMetric()[0].GetCounter().GetValue())
			}
		}
	}
	return n
}

// TestAllIsWell has each node call for each key, at once: it is done once.
func TestAllIsWell(t *testing.T) {
	nodes := open(t, once.Options{}, servers.Start(t, servers.Redis(), servers.Options{}), "a", "b", "c")
	b := &book{done: map[string][]string{}}
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	for i := range 300 {
		key := fmt.Sprintf("key-%d", i)
		for _, n := range nodes {
			all.Go(func() {
				start := time.Now()
				if r, err := n.group.Do(t.Context(), key, b.work(key, n.name)); err != nil || string(r.Value) != r.By {
					t.Errorf("%s: %+v, %v", key, r, err)
				} else if !r.Here {
					mu.Lock()
					took = append(took, time.Since(start))
					mu.Unlock()
				}
			})
		}
		all.Wait()
	}
	slices.Sort(took)
	t.Logf("another node has the result after: p50 %v, p99 %v, max %v", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	if n := b.doubled(); n != 0 || len(b.done) != 300 {
		t.Errorf("%d of 300 keys were done, and %d times too often: %v", len(b.done), n, b.done)
	}
}

// TestWindow measures the window in which two act: the first in order calls by about
// one turn later than the second. Each key is done, and what was done twice is counted.
func TestWindow(t *testing.T) {
	const turn = 100 * time.Millisecond
	nodes := open(t, once.Options{Turn: turn}, servers.Start(t, servers.Redis(), servers.Options{}), "a", "b")
	total := &book{done: map[string][]string{}}
	for _, later := range []time.Duration{-20 * time.Millisecond, -5 * time.Millisecond, -time.Millisecond, 0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		b := &book{done: map[string][]string{}}
		var all sync.WaitGroup
		const keys = 50
		for i := range keys {
			key := keyFor(int(later/time.Microsecond)*1000+i, "a", "b")
			for j, n := range nodes {
				delay := time.Duration(i) * 7 * time.Millisecond
				if j == 0 {
					delay += turn + later
				}
				all.Go(func() {
					timer := time.NewTimer(delay)
					defer timer.Stop()
					<-timer.C
					if _, err := n.group.Do(t.Context(), key, b.work(key, n.name)); err != nil {
						t.Errorf("%s: %v", key, err)
					}
				})
			}
		}
		all.Wait()
		if len(b.done) != keys {
			t.Errorf("%d of %d keys were done", len(b.done), keys)
		}
		t.Logf("the first calls %v after the turn of the second: %d of %d done twice", later, b.doubled(), keys)
		if far := later.Abs() >= 20*time.Millisecond; far && b.doubled() > keys/2 {
			t.Errorf("%d of %d were done twice although the calls are %v apart", b.doubled(), keys, later)
		}
		for key, names := range b.done {
			total.done[key] = names
		}
	}
	testkit.Eventually(t, patience, func() error {
		if have, want := counted(t, nodes), total.doubled(); have != want {
			return fmt.Errorf("%d are counted as done twice, %d were", have, want)
		}
		return nil
	})
}

// keeping is a node whose states are kept in a database.
type keeping struct {
	backend.ClusterChannel
	store *persist.Store
}

func (k keeping) AddState(key string, s backend.State, o *backend.StateOptions) (backend.Channel, error) {
	kept, err := k.store.Keep(context.Background(), key, s)
	if err != nil {
		return nil, err
	}
	return k.ClusterChannel.AddState(key, kept, o)
}

// All nodes stop, and one starts: with a database it knows what was done.
func TestKept(t *testing.T) {
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "states.db")
	bus := memory.NewBus()
	defer bus.Remove()
	b := &book{done: map[string][]string{}}
	for range 3 {
		store, err := persist.Open(persist.Options{DSN: dsn, Cluster: "once", Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		cluster, err := backend.Open(t.Context(), backend.Config{Backend: "memory", Cluster: "once", Name: "a", Params: map[string]string{"bus": bus.Name()}, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		group, err := once.New(keeping{cluster, store}, &once.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := group.Do(t.Context(), "key", b.work("key", "a")); err != nil || string(r.Value) != "a" {
			t.Errorf("%+v, %v", r, err)
		}
		closes(t, store.Close)
		closes(t, group.Close)
		closes(t, cluster.Close)
	}
	if n := b.doubled(); n != 0 {
		t.Errorf("it was done %d times too often", n)
	}
}
