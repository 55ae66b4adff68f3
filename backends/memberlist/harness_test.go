package memberlist

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ml "github.com/hashicorp/memberlist"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestMain looks for leaks as goleak.VerifyTestMain does, but longer than its one
// second: a probe of memberlist that is under way at Shutdown waits for its answer
// for up to awarenessMax probe intervals, and cannot be ended.
func TestMain(m *testing.M) {
	nemesis.Node()
	code := m.Run()
	if code == 0 {
		err := goleak.Find()
		for deadline := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(deadline); {
			err = goleak.Find() // takes a second where there is something
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var hosts atomic.Int32

// newHost returns a loopback address on which no other node of this process
// listens, and most likely none of another process.
func newHost() netip.Addr {
	n := hosts.Add(1)
	return netip.AddrFrom4([4]byte{127, byte(20 + os.Getpid()%200), byte(n / 250), byte(1 + n%250)})
}

// recorder is a Handler that records its calls.
type recorder struct {
	mu     sync.Mutex
	frames [][]byte
	states [][]byte
	links  []string // "ok", or the error
	views  [][]driver.Member
	left   []string
	log    []string // kinds of calls in order
	probes int
	state  []byte
}

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *recorder) Frame(b []byte) {
	r.note(func() { r.frames = append(r.frames, bytes.Clone(b)) })
}

func (r *recorder) Reject(why driver.Reason, err error) {
	r.note(func() { r.log = append(r.log, fmt.Sprintf("reject %s: %v", why, err)) })
}

func (r *recorder) Link(err error) {
	r.note(func() {
		text := "ok"
		if err != nil {
			text = err.Error()
		}
		r.links = append(r.links, text)
		r.log = append(r.log, "link "+text)
	})
}

func (r *recorder) Members(all []driver.Member) {
	r.note(func() {
		slices.SortFunc(all, func(a, b driver.Member) int { return strings.Compare(nodeName(a), nodeName(b)) })
		r.views = append(r.views, all)
		r.log = append(r.log, "members "+names(all))
	})
}

func (r *recorder) Left(m driver.Member) {
	r.note(func() {
		r.left = append(r.left, m.Name)
		r.log = append(r.log, "left "+m.Name)
	})
}

func (r *recorder) Probe(string, time.Duration, error) { r.note(func() { r.probes++ }) }

func (r *recorder) Trouble(string, error) {}

func (r *recorder) Lost(to driver.Member, err error) {
	r.note(func() { r.log = append(r.log, fmt.Sprintf("lost to %s: %v", to.Name, err)) })
}

func (r *recorder) LocalState() (state []byte) {
	r.note(func() { state = r.state })
	return state
}

func (r *recorder) MergeState(b []byte) {
	r.note(func() { r.states = append(r.states, bytes.Clone(b)) })
}

func names(all []driver.Member) string {
	texts := make([]string, len(all))
	for i, m := range all {
		texts[i] = m.Name
	}
	return strings.Join(texts, " ")
}

// view returns the names of the members last told.
func (r *recorder) view() (text string) {
	r.note(func() {
		if len(r.views) > 0 {
			text = names(r.views[len(r.views)-1])
		}
	})
	return text
}

func (r *recorder) lastLink() (text string) {
	r.note(func() {
		if len(r.links) > 0 {
			text = r.links[len(r.links)-1]
		}
	})
	return text
}

func (r *recorder) calls() (all []string) {
	r.note(func() { all = slices.Clone(r.log) })
	return all
}

func (r *recorder) got(frame []byte) (n int) {
	r.note(func() {
		for _, f := range r.frames {
			if bytes.Equal(f, frame) {
				n++
			}
		}
	})
	return n
}

// testNode is an open driver and what it told.
type testNode struct {
	*recorder
	*conn
	addr    string
	logs    *testkit.Log
	end     context.CancelFunc // of Serve
	served  chan struct{}
	closing sync.Once
}

// spec is a node to open.
type spec struct {
	name     string
	cluster  string
	instance string // empty: a new one
	listen   string // empty: a new host
	params   map[string]string
	meta     map[string]string
	state    []byte
	hooks    hooks
}

func tryStart(t testing.TB, s spec) (*testNode, error) {
	t.Helper()
	if s.listen == "" {
		s.listen = netip.AddrPortFrom(newHost(), 9094).String()
	}
	n := &testNode{recorder: &recorder{state: s.state}, addr: s.listen, logs: &testkit.Log{}}
	if s.instance == "" {
		s.instance = rand.Text()[:10]
	}
	params := map[string]string{"listen_address": s.listen}
	for k, v := range s.params {
		params[k] = v
	}
	d, err := open(t.Context(), driver.Options{
		Cluster: s.cluster, Self: driver.Member{Name: s.name, Instance: s.instance, Meta: s.meta}, Params: params,
		MaxBytes: maxFrame, Logger: slog.New(slog.NewTextHandler(n.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, s.hooks)
	if err != nil {
		return nil, err
	}
	n.conn = d.(*conn)
	ctx, end := context.WithCancel(context.Background())
	n.end, n.served = end, make(chan struct{})
	go func() {
		defer close(n.served)
		if err := d.Serve(ctx, n.recorder); err != nil && ctx.Err() != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	t.Cleanup(func() {
		n.stop(t)
		if t.Failed() {
			t.Logf("%s was told:\n%s\nlog:\n%s", s.name, strings.Join(n.calls(), "\n"), n.logs)
		}
	})
	return n, nil
}

func start(t testing.TB, s spec) *testNode {
	t.Helper()
	n, err := tryStart(t, s)
	if err != nil {
		t.Fatalf("open %s: %v", s.name, err)
	}
	return n
}

func (n *testNode) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n.end()
	<-n.served
	if err := n.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// crash ends n as the end of its process would: sockets close, without a
// goodbye.
func (n *testNode) crash() {
	n.closing.Do(func() {
		n.cancel(nil)
		_ = n.shutDown() // sockets only
	})
}

// Close may be called after a crash, and again.
func (n *testNode) Close(ctx context.Context) (err error) {
	n.closing.Do(func() { err = n.conn.Close(ctx) })
	return err
}

// startAll opens nodes one after the other, each with all as peers, and waits
// until they agree.
func startAll(t testing.TB, s spec, names ...string) []*testNode {
	t.Helper()
	addrs := make([]string, len(names))
	for i := range names {
		addrs[i] = netip.AddrPortFrom(newHost(), 9094).String()
	}
	params := map[string]string{"peers": strings.Join(addrs, ",")}
	for k, v := range s.params {
		params[k] = v
	}
	nodes := make([]*testNode, len(names))
	for i, name := range names {
		each := s
		each.name, each.listen, each.params = name, addrs[i], params
		nodes[i] = start(t, each)
	}
	agree(t, nodes...)
	return nodes
}

// agree waits until all of nodes list all of them, and are attached.
func agree(t testing.TB, nodes ...*testNode) {
	t.Helper()
	want := make([]string, len(nodes))
	for i, n := range nodes {
		want[i] = n.self.Name
	}
	slices.Sort(want)
	testkit.Eventually(t, 10*time.Second, func() error {
		for _, n := range nodes {
			if got := n.view(); got != strings.Join(want, " ") || n.lastLink() != "ok" {
				return fmt.Errorf("%s lists %q with link %q, want %q", n.self.Name, got, n.lastLink(), want)
			}
		}
		return nil
	})
}

// always checks for d that f returns nil.
func always(t testing.TB, d time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(d)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		if err := f(); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
}

// network cuts links between hosts: what is sent over them vanishes.
type network struct {
	mu  sync.Mutex
	cut map[[2]string]bool
}

func newNetwork() *network { return &network{cut: map[[2]string]bool{}} }

func (w *network) set(a, b string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]string{a, b}], w.cut[[2]string{b, a}] = cut, cut
}

func (w *network) isCut(a, b string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[[2]string{a, b}]
}

// at returns the hook for the node at addr.
func (w *network) at(addr string) func(ml.NodeAwareTransport) ml.NodeAwareTransport {
	return func(t ml.NodeAwareTransport) ml.NodeAwareTransport {
		return &cuttable{NodeAwareTransport: t, network: w, addr: addr, done: make(chan struct{})}
	}
}

type cuttable struct {
	ml.NodeAwareTransport
	network *network
	addr    string
	once    sync.Once
	done    chan struct{}
}

func (c *cuttable) Shutdown() error {
	c.once.Do(func() { close(c.done) })
	return c.NodeAwareTransport.Shutdown()
}

func (c *cuttable) WriteTo(b []byte, addr string) (time.Time, error) {
	return c.WriteToAddress(b, ml.Address{Addr: addr})
}

func (c *cuttable) WriteToAddress(b []byte, a ml.Address) (time.Time, error) {
	if c.network.isCut(c.addr, a.Addr) {
		return time.Now(), nil
	}
	return c.NodeAwareTransport.WriteToAddress(b, a)
}

func (c *cuttable) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return c.DialAddressTimeout(ml.Address{Addr: addr}, timeout)
}

func (c *cuttable) DialAddressTimeout(a ml.Address, timeout time.Duration) (net.Conn, error) {
	if c.network.isCut(c.addr, a.Addr) {
		timer := time.NewTimer(min(timeout, dialTimeout))
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil, errors.New("i/o timeout")
		case <-c.done:
			return nil, net.ErrClosed
		}
	}
	return c.NodeAwareTransport.DialAddressTimeout(a, timeout)
}
