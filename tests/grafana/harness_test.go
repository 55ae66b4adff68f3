// Package grafana_test runs the Redis driver with wire: grafana together with
// peers like Grafana's.
package grafana_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/tests/grafanapeer"
)

// go-redis sleeps for a second between two tries to dial, also when its pool was
// closed meanwhile; then it ends.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// quick are periods that make for short tests. A heartbeat counts in seconds, so
// that they cannot be much shorter.
var quick = redis.GrafanaTiming{Heartbeat: 500 * time.Millisecond, Expiry: 4 * time.Second, TTL: time.Minute, FullState: time.Minute, Beat: 250 * time.Millisecond}

// mesh is a Redis, and the seats that meet there.
type mesh struct {
	testing.TB
	addr   string
	prefix string
	client *goredis.Client
	logs   *synced
}

type synced struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *synced) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newMesh(t testing.TB, prefix string) *mesh {
	t.Helper()
	m := &mesh{TB: t, addr: servers.Start(t, servers.Redis(), servers.Options{}).Addr(), prefix: prefix, logs: &synced{}}
	m.client = goredis.NewClient(&goredis.Options{Addr: m.addr, PoolSize: 50})
	t.Cleanup(func() {
		if err := m.client.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(m.logs)
		}
	})
	return m
}

func (m *mesh) logger(of string) *slog.Logger {
	return slog.New(slog.NewTextHandler(m.logs, &slog.HandlerOptions{Level: slog.LevelDebug})).With("of", of)
}

// within waits until f returns nil, and returns how long that took.
func (m *mesh) within(d time.Duration, f func() error) time.Duration {
	m.Helper()
	start := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		took := time.Since(start)
		if err == nil {
			return took
		}
		if took > d {
			m.Fatalf("not within %v: %v", d, err)
		}
		<-tick.C
	}
}

// pass lets time pass.
func (m *mesh) pass(d time.Duration) {
	m.Helper()
	select {
	case <-time.After(d):
	case <-m.Context().Done():
	}
}

// table is a state: the latest version of each entry.
type table struct {
	mu      sync.Mutex
	entries map[string]int
	merges  int
	send    func([]byte)
}

func newTable() *table { return &table{entries: map[string]int{}, send: func([]byte) {}} }

// set changes an entry, and broadcasts the change.
func (s *table) set(key string, version int) {
	s.quietly(key, version)
	b, err := json.Marshal(map[string]int{key: version})
	if err != nil {
		panic(err)
	}
	s.send(b)
}

func (s *table) quietly(key string, version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[key] = version
}

func (s *table) get(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[key]
}

func (s *table) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

func (s *table) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(s.entries)
}

func (s *table) Merge(b []byte) error {
	var update map[string]int
	if err := json.Unmarshal(b, &update); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.merges++
	for key, version := range update {
		s.entries[key] = max(s.entries[key], version)
	}
	return nil
}

// seat is one of either kind, with a table under "silences:1".
type seat struct {
	*table
	name string
	key  string // as Grafana's peers list it
	peer *grafanapeer.Peer
	ours backend.ClusterChannel
	link *netfault.Proxy // between ours and the server
	end  func()
}

const silences = "silences:1"

// peer starts a peer of Grafana.
func (m *mesh) peer(name string, edits ...func(*grafanapeer.Options)) *seat {
	m.Helper()
	o := grafanapeer.Options{
		Client: m.client, Name: name, Prefix: m.prefix, Logger: m.logger(name), Heartbeat: quick.Heartbeat, Scan: quick.Heartbeat,
		Timeout: quick.Expiry, PushPull: time.Minute, SettlePoll: 200 * time.Millisecond,
	}
	for _, edit := range edits {
		edit(&o)
	}
	s := &seat{table: newTable(), name: name, peer: grafanapeer.Start(o)}
	s.key = s.peer.Name()
	s.send = s.peer.AddState(silences, s.table).Broadcast
	s.end = sync.OnceFunc(func() {
		if err := s.peer.Close(); err != nil {
			m.Error(err)
		}
	})
	m.Cleanup(func() { s.end() }) // a crash replaces it
	return s
}

// node opens an own node, with Grafana's periods made short.
func (m *mesh) node(name string, edits ...func(*backend.Config)) *seat {
	m.Helper()
	return m.nodeAt(quick, name, edits...)
}

// nodeAt opens an own node with other periods.
func (m *mesh) nodeAt(t redis.GrafanaTiming, name string, edits ...func(*backend.Config)) *seat {
	m.Helper()
	link, err := netfault.Listen(func() string { return m.addr })
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = link.Close() }) // a crash has closed it
	s := &seat{table: newTable(), name: name, link: link}
	c := backend.Config{
		Cluster: "alerts", Name: name, Logger: m.logger(name), Timing: backend.Timing{Grace: 2 * time.Second, Settle: 5 * time.Second},
		Params: map[string]string{"address": s.link.Addr(), "wire": "grafana", "prefix": m.prefix},
		Driver: redis.WithGrafanaTiming(t),
	}
	for _, edit := range edits {
		edit(&c)
	}
	if s.ours, err = backend.Open(m.Context(), c); err != nil {
		m.Fatal(err)
	}
	channel, err := s.ours.AddState(silences, s.table, nil)
	if err != nil {
		m.Fatal(err)
	}
	s.send = channel.Broadcast
	self := s.ours.View().Self()
	s.key = prefixed(m.prefix, self.Name+"+"+self.Instance)
	s.end = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.ours.Close(ctx); err != nil {
			m.Error(err)
		}
	})
	m.Cleanup(s.end)
	return s
}

func prefixed(prefix, name string) string {
	if prefix != "" && !strings.HasSuffix(prefix, ":") {
		prefix += ":"
	}
	return prefix + name
}

// crash ends a seat as the end of its process would.
func (s *seat) crash() {
	if s.peer != nil {
		s.peer.Kill()
		s.end = func() {}
		return
	}
	_ = s.link.Close() // so that it does not say goodbye
	s.end()
}

// view returns the full keys of the members as s sees them, and its position.
func (s *seat) view(prefix string) ([]string, int) {
	if s.peer != nil {
		return s.peer.Members(), s.peer.Position()
	}
	v := s.ours.View()
	keys := make([]string, len(v.Members))
	for i, m := range v.Members {
		keys[i] = prefixed(prefix, m.Name)
		if m.Instance != "" {
			keys[i] += "+" + m.Instance
		}
	}
	if v.Status != backend.Attached {
		return nil, -1
	}
	return keys, v.Position
}

// agree waits until all seats see exactly each other, in one order.
func (m *mesh) agree(d time.Duration, seats ...*seat) time.Duration {
	m.Helper()
	want := make([]string, len(seats))
	for i, s := range seats {
		want[i] = s.key
	}
	slices.Sort(want)
	return m.within(d, func() error {
		for _, s := range seats {
			got, position := s.view(m.prefix)
			if !slices.Equal(got, want) || position != slices.Index(want, s.key) {
				return fmt.Errorf("%s at %d sees %q, want %q", s.name, position, got, want)
			}
		}
		return nil
	})
}

// hold waits until each seat has the entry.
func (m *mesh) hold(d time.Duration, key string, version int, seats ...*seat) time.Duration {
	m.Helper()
	return m.within(d, func() error {
		for _, s := range seats {
			if got := s.get(key); got != version {
				return fmt.Errorf("%s has %s at %d, want %d", s.name, key, got, version)
			}
		}
		return nil
	})
}

// beats makes a heartbeat of a stranger whose clock is off, until the end of the
// test or stop.
func (m *mesh) beats(name string, off time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(m.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(quick.Heartbeat)
		defer tick.Stop()
		for {
			err := m.client.Set(ctx, prefixed(m.prefix, name), strconv.FormatInt(time.Now().Add(off).Unix(), 10), time.Minute).Err()
			if err != nil && ctx.Err() == nil {
				m.Error(err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	stop = func() { cancel(); <-done }
	m.Cleanup(stop)
	return stop
}
