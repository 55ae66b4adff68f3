package redis_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// set is a state: entries, of which merging makes the union.
type set struct {
	mu      sync.Mutex
	entries map[string]bool
	channel backend.Channel
}

func (s *set) add(entry string) {
	s.mu.Lock()
	s.entries[entry] = true
	s.mu.Unlock()
	s.channel.Broadcast(encode(entry))
}

// encode writes entries, each after its length.
func encode(entries ...string) (b []byte) {
	for _, e := range entries {
		b = append(binary.AppendUvarint(b, uint64(len(e))), e...)
	}
	return b
}

func (s *set) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return encode(slices.Sorted(maps.Keys(s.entries))...), nil
}

func (s *set) Merge(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return errors.New("no entry")
		}
		s.entries[string(b[size:size+int(n)])] = true
		b = b[size+int(n):]
	}
	return nil
}

func (s *set) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// member is an open channel with one state.
type member struct {
	backend.ClusterChannel
	name string
	set  *set
	logs *testkit.Log

	mu    sync.Mutex
	found []string // what the link was lost for
	stop  context.CancelFunc
	done  chan struct{}
}

// timing is the default, except for periods that would only make tests long.
var timing = backend.Timing{Settle: 2 * time.Second, Sync: 30 * time.Second}

func configure(t testing.TB, name string, params map[string]string, logs *testkit.Log) backend.Config {
	return backend.Config{
		Backend: "redis", Cluster: t.Name(), Name: name, Params: params, Timing: timing,
		Logger: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// open opens a node that ends with the test.
func open(t testing.TB, name string, params map[string]string, edits ...func(*backend.Config)) *member {
	t.Helper()
	m := &member{name: name, logs: &testkit.Log{}, done: make(chan struct{})}
	c := configure(t, name, params, m.logs)
	for _, edit := range edits {
		edit(&c)
	}
	channel, err := backend.Open(t.Context(), c)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	m.ClusterChannel = channel
	m.set = &set{entries: map[string]bool{}}
	if m.set.channel, err = channel.AddState("set", m.set, nil); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go m.watch(ctx)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Logf("close %s: %v", name, err)
		}
		stop()
		<-m.done
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, m.logs)
		}
	})
	return m
}

// watch records why the link was lost.
func (m *member) watch(ctx context.Context) {
	defer close(m.done)
	for v := range m.Watch(ctx) {
		if v.Status == backend.Detached && v.Err != nil {
			m.mu.Lock()
			m.found = append(m.found, v.Err.Error())
			m.mu.Unlock()
		}
	}
}

// losses returns why the link was lost since the last call.
func (m *member) losses() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.found
	m.found = nil
	return found
}

// trio opens three nodes, and returns when they agree.
func trio(t testing.TB, params map[string]string, edits ...func(*backend.Config)) []*member {
	t.Helper()
	nodes := []*member{open(t, "a", params, edits...), open(t, "b", params, edits...), open(t, "c", params, edits...)}
	agree(t, 5*time.Second, nodes...)
	for _, n := range nodes {
		n.losses()
	}
	return nodes
}

// agree waits until all nodes are attached and list all of them.
func agree(t testing.TB, d time.Duration, nodes ...*member) {
	t.Helper()
	testkit.Eventually(t, d, func() error {
		for _, n := range nodes {
			if v := n.View(); v.Status != backend.Attached || len(v.Members) != len(nodes) {
				return fmt.Errorf("%s is %v and lists %d members, want %d: %v", n.name, v.Status, len(v.Members), len(nodes), v.Err)
			}
		}
		return nil
	})
}

// hold waits until each node's set has n entries.
func hold(t testing.TB, d time.Duration, n int, nodes ...*member) {
	t.Helper()
	testkit.Eventually(t, d, func() error {
		for _, m := range nodes {
			if got := m.set.len(); got != n {
				return fmt.Errorf("%s holds %d entries, want %d", m.name, got, n)
			}
		}
		return nil
	})
}

// detached waits until n says that it is, and why.
func detached(t testing.TB, d time.Duration, nodes ...*member) {
	t.Helper()
	testkit.Eventually(t, d, func() error {
		for _, n := range nodes {
			n.mu.Lock()
			lost := len(n.found) > 0
			n.mu.Unlock()
			if !lost {
				return fmt.Errorf("%s was never detached: %v", n.name, n.View().Status)
			}
		}
		return nil
	})
}

// client returns a client of the server at addr.
func client(t testing.TB, addr string) *goredis.Client {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// do runs a command that must succeed.
func do(t testing.TB, c *goredis.Client, args ...any) any {
	t.Helper()
	v, err := c.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

// refused opens a channel that must fail at once as bad configuration, with an
// error that contains each of texts.
func refused(t testing.TB, params map[string]string, texts ...string) {
	t.Helper()
	start := time.Now()
	refusedBy(t, driver.ErrConfig, params, nil, texts...)
	if took := time.Since(start); took > time.Second {
		t.Errorf("%v: the error took %v", params, took)
	}
}

// refusedBy opens a channel that must fail with an error that wraps want and
// contains each of texts, but no secret.
func refusedBy(t testing.TB, want error, params map[string]string, edit func(*backend.Config), texts ...string) {
	t.Helper()
	logs := &testkit.Log{}
	c := configure(t, "refused", params, logs)
	c.OnStartFailure = backend.Fail
	if edit != nil {
		edit(&c)
	}
	channel, err := backend.Open(t.Context(), c)
	if err == nil {
		t.Errorf("%v: Open succeeded, want an error that wraps %q", params, want)
		_ = channel.Close(t.Context()) // it should not be open
		return
	}
	if !errors.Is(err, want) {
		t.Errorf("%v: %v, want an error that wraps %q", params, err, want)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v, want it to say %q", params, err, text)
		}
	}
	if strings.Contains(err.Error()+logs.String(), secret) {
		t.Errorf("%v: a secret is shown: %v", params, err)
	}
}

const secret = "s3cret-of-the-test"
