package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func TestMain(m *testing.M) {
	if os.Getenv(hostVariable) != "" {
		serveHost()
		return
	}
	os.Exit(m.Run())
}

// request is a line that a host's process reads, and reply what it answers.
type request struct {
	Do     string
	Name   string // of the node, or of the update
	Params map[string]string
	Size   int // of the update
	After  time.Duration
	Say    []byte // of a stranger
}

type reply struct {
	Err       string
	Members   string // first letters of their names
	Addresses string // of them
	Position  int
	Status    string
	Why       string
	History   []string             // each view's Members and Status, in order
	Got       map[string]time.Time // updates and when they were first merged
	Metrics   string
	Heap      uint64 // the largest, in bytes
	Live      uint64 // the largest without garbage
	Memory    uint64 // the same, with the stacks then
	Count     int    // of connections made, or packets sent
	Found     []driver.Finding
}

// serveHost does what it reads, until there is no more.
func serveHost() {
	n := &hostNode{got: map[string]time.Time{}, entries: map[string][]byte{}}
	go n.measure()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r request
		if in.Decode(&r) != nil {
			return
		}
		answer, err := n.do(r)
		if err != nil {
			answer.Err = err.Error()
		}
		if out.Encode(answer) != nil {
			return
		}
	}
}

// hostNode is a node and its one state, a set of named entries.
type hostNode struct {
	channel  backend.ClusterChannel
	state    backend.Channel
	registry *prometheus.Registry

	mu      sync.Mutex
	entries map[string][]byte
	sum     uint64 // of them
	got     map[string]time.Time
	history []string
	heap    uint64
	live    uint64
	memory  uint64
	dialled []net.Conn // as a stranger
	plain   bool       // the state has no digest
}

func (n *hostNode) do(r request) (reply, error) {
	switch r.Do {
	case "open":
		return reply{}, n.open(r)
	case "put": // without an update
		n.mu.Lock()
		defer n.mu.Unlock()
		n.add(r.Name, filled(r.Size))
	case "broadcast":
		b := encodeEntries(map[string][]byte{r.Name: filled(r.Size)})
		if err := n.Merge(b); err != nil {
			return reply{}, err
		}
		n.state.Broadcast(b)
	case "status":
		return n.status()
	case "got": // that alone: a status takes long where many members are
		n.mu.Lock()
		defer n.mu.Unlock()
		return reply{Got: maps.Clone(n.got)}, nil
	case "forget": // the history and the largest heap so far
		runtime.GC()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.history, n.heap, n.memory, n.live = nil, 0, 0, 0
	case "plain":
		n.plain = true
	case "descriptors": // so many at most; those that are open stay
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return reply{}, err
		}
		limit.Cur = min(uint64(r.Size), limit.Max)
		return reply{}, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	case "examine":
		return n.examine(r), nil
	case "strangers":
		return n.strangers(r)
	case "flood":
		return flood(r)
	case "hang up":
		for _, c := range n.dialled {
			_ = c.Close() // there is nobody to tell
		}
		n.dialled = nil
	case "close":
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return reply{}, n.channel.Close(ctx)
	}
	return reply{}, nil
}

func (n *hostNode) open(r request) error {
	n.registry = prometheus.NewRegistry()
	cluster := "lan"
	if c, ok := r.Params["cluster"]; ok {
		cluster = c
		delete(r.Params, "cluster")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	n.channel, err = backend.Open(ctx, backend.Config{
		Backend: "memberlist", Cluster: cluster, Name: r.Name, Params: r.Params, Registerer: n.registry,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		return err
	}
	go func() {
		for v := range n.channel.Watch(context.Background()) {
			n.mu.Lock()
			n.history = append(n.history, letters(v)+" "+v.Status.String())
			n.mu.Unlock()
		}
	}()
	var state backend.State = n
	if n.plain {
		state = struct{ backend.State }{n}
	}
	n.state, err = n.channel.AddState("s", state, nil)
	return err
}

// examine lets the doctor examine a node of this host, which need not be open.
func (*hostNode) examine(r request) (s reply) {
	b, _ := backend.Lookup("memberlist")
	doctor.Run(context.Background(), b, driver.Examination{
		Options: driver.Options{Cluster: "lan", Self: driver.Member{Name: r.Name}, Params: r.Params}, Timeout: 5 * time.Second,
		Report: func(f driver.Finding) { s.Found = append(s.Found, f) },
	})
	return s
}

// strangers opens connections from one address, and says something on each.
func (n *hostNode) strangers(r request) (s reply, err error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(r.Params["from"])}, Timeout: 10 * time.Second}
	for s.Count = 0; s.Count < r.Size; s.Count++ {
		conn, err := d.Dial("tcp", r.Name)
		if err != nil {
			return s, err
		}
		n.dialled = append(n.dialled, conn)
		_, _ = conn.Write(r.Say) // it may have been refused
	}
	return s, nil
}

// flood sends packets for a time, or so many. In each a mark is another number.
func flood(r request) (s reply, err error) {
	conn, err := net.Dial("udp", r.Name)
	if err != nil {
		return s, err
	}
	for began := time.Now(); time.Since(began) < r.After && (r.Size == 0 || s.Count < r.Size); s.Count++ {
		_, _ = conn.Write(bytes.Replace(r.Say, []byte("MARK"), fmt.Appendf(nil, "%08d", s.Count), 1)) // some are lost
	}
	return s, conn.Close()
}

func letters(v backend.View) string {
	text := make([]byte, 0, len(v.Members))
	for _, m := range v.Members {
		text = append(text, m.Name[0])
	}
	return string(text)
}

func (n *hostNode) status() (reply, error) {
	if n.channel == nil {
		return reply{}, errors.New("no node is open")
	}
	v := n.channel.View()
	s := reply{Members: letters(v), Position: v.Position, Status: v.Status.String()}
	var addresses strings.Builder
	for _, m := range v.Members {
		addresses.WriteString(m.Addr + " ")
	}
	s.Addresses = addresses.String()
	if v.Err != nil {
		s.Why = v.Err.Error()
	}
	families, err := n.registry.Gather()
	if err != nil {
		return s, err
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			return s, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s.Memory, s.Live = n.memory, n.live
	s.Metrics, s.Heap, s.History, s.Got = text.String(), n.heap, slices.Clone(n.history), maps.Clone(n.got)
	return s, nil
}

// measure keeps the largest heap, and the largest that was in use when garbage was
// collected.
func (n *hostNode) measure() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for range time.Tick(10 * time.Millisecond) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		metrics.Read(live)
		n.mu.Lock()
		inUse := live[0].Value.Uint64()
		n.heap, n.live = max(n.heap, m.HeapAlloc), max(n.live, inUse)
		n.memory = max(n.memory, inUse+m.StackInuse)
		n.mu.Unlock()
	}
}

// MarshalBinary implements backend.State.
func (n *hostNode) MarshalBinary() ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return encodeEntries(n.entries), nil
}

// Merge implements backend.State.
func (n *hostNode) Merge(b []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(b) > 0 {
		name, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		value, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if _, known := n.entries[string(name)]; !known {
			n.add(string(name), bytes.Clone(value))
			n.got[string(name)] = time.Now()
		}
	}
	return nil
}

// add is called with the lock held.
func (n *hostNode) add(name string, value []byte) {
	n.entries[name] = value
	n.sum += xxhash.Sum64String(name) ^ xxhash.Sum64(value)
}

// Digest implements backend.Digester, as the application's states do.
func (n *hostNode) Digest() (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sum, nil
}

// filled is what no compression makes smaller.
func filled(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = r.Read(b) // it never fails
	return b
}

func encodeEntries(entries map[string][]byte) []byte {
	size := 0
	for name, value := range entries {
		size += protowire.SizeBytes(len(name)) + protowire.SizeBytes(len(value))
	}
	b := make([]byte, 0, size)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		b = protowire.AppendBytes(protowire.AppendString(b, name), entries[name])
	}
	return b
}

// value returns the sum of a metric's series that hold all of labels.
func (r reply) value(t *testing.T, name string, labels ...string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(r.Metrics) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(series, name+"{") || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(series, l) }) {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum += v
	}
	return sum
}
