package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
)

// env is what one check works with: nodes, a clock, and ways to break things.
type env struct {
	*reporter
	suite   *suite
	h       Harness
	check   *check
	cluster string
	server  Server // nil where the backend has none

	mu      sync.Mutex
	nodes   []*node
	proxies []*netfault.Proxy
}

// run runs the check and tells whether it passed.
func (c *check) run(t testing.TB, s *suite) bool {
	t.Helper()
	if hook := c.needs.missing(s.h); hook != "" {
		t.Errorf("%s needs Harness.%s: set it, or waive the check with a reason", c.name, hook)
		return false
	}
	e := &env{
		reporter: &reporter{TB: t},
		suite:    s, h: s.h, check: c,
		cluster: "conf-" + strings.ReplaceAll(c.name, "/", "-") + "-" + strings.ToLower(rand.Text()[:8]),
		server:  s.shared,
	}
	most := s.h.Timing.stretch(s.h.limit)
	e.run(c.name, most, func() {
		if c.level == fault && s.h.Server != nil {
			e.server = s.h.Server(e)
		}
		c.body(e)
	})
	failed := e.Failed()
	e.run("closing what the check has opened", most, func() {
		e.closeAll()
		e.closeProxies()
	})
	for _, n := range e.opened() {
		for _, fault := range n.tap.broken() {
			e.Errorf("%s: a promise of package driver is broken: %s", n, fault)
		}
	}
	e.finish(most)
	if failed {
		for _, n := range e.opened() {
			t.Logf("log of %s:\n%s", n, n.log.tail())
		}
	}
	if e.Failed() {
		t.Logf("%s defends\n%s", c.name, c.rule())
	}
	return !e.Failed()
}

// node is one open channel, and what surrounds it.
type node struct {
	Node
	backend.ClusterChannel
	env    *env
	config backend.Config
	tap    *tap
	proxy  *netfault.Proxy // nil where there is no TCP server
	reg    *prometheus.Registry
	log    *logBuffer
	self   backend.Member
	gone   atomic.Bool
}

func (n *node) String() string { return fmt.Sprintf("%s(%d)", n.Name, n.ID) }

var lastID atomic.Int64

// open opens a node of the check's own cluster, and ends the check if it cannot.
func (e *env) open(name string, edits ...func(*backend.Config)) *node {
	e.Helper()
	n, err := e.tryOpen(context.Background(), name, edits...)
	if err != nil {
		e.Fatalf("open %s: %v", name, err)
	}
	return n
}

func (e *env) tryOpen(ctx context.Context, name string, edits ...func(*backend.Config)) (*node, error) {
	n, err := e.prepare(name, edits...)
	if err != nil {
		return n, err
	}
	return n, n.start(ctx)
}

// start opens the channel of a node that was prepared.
func (n *node) start(ctx context.Context) error {
	e := n.env
	channel, err := e.h.open(ctx, n.config)
	if err != nil {
		return err
	}
	if channel == nil {
		return errors.New("backend.Open returned neither a channel nor an error")
	}
	n.ClusterChannel = channel
	if v := channel.View(); v.Position >= 0 && v.Position < len(v.Members) {
		n.self = v.Self()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodes = append(e.nodes, n)
	return nil
}

// prepare makes everything of a node but its channel.
func (e *env) prepare(name string, edits ...func(*backend.Config)) (*node, error) {
	n := &node{
		Node: Node{ID: int(lastID.Add(1)), Name: name, Cluster: e.cluster},
		env:  e, reg: prometheus.NewRegistry(), log: &logBuffer{},
	}
	n.config = backend.Config{
		Backend: e.h.Backend, Cluster: e.cluster, Name: name, Timing: e.h.Timing.Channel,
		Registerer: n.reg,
		Logger:     slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, edit := range edits {
		edit(&n.config)
	}
	n.Cluster = n.config.Cluster
	if e.server != nil {
		n.Server = e.server.Addr()
		if _, _, err := net.SplitHostPort(n.Server); err == nil {
			server := e.server
			p, err := netfault.Listen(func() string { return server.Addr() })
			if err != nil {
				return n, err
			}
			n.proxy, n.Server = p, p.Addr()
			e.mu.Lock()
			e.proxies = append(e.proxies, p)
			e.mu.Unlock()
		}
	}
	if e.h.Params != nil && n.config.Params == nil {
		n.config.Params = e.h.Params(e, n.Node)
	}
	open, _ := backend.Lookup(e.h.Backend)
	if e.h.Open != nil {
		open = e.h.Open(e, n.Node)
	}
	n.tap = &tap{inner: open}
	n.config.Open = n.tap.open
	return n, nil
}

// openAll opens nodes one after another and waits until they agree.
func (e *env) openAll(names ...string) []*node {
	e.Helper()
	nodes := make([]*node, len(names))
	for i, name := range names {
		nodes[i] = e.open(name)
	}
	e.agreed(nodes...)
	return nodes
}

// agreed waits until nodes agree that they are the cluster.
func (e *env) agreed(nodes ...*node) {
	e.Helper()
	e.within(converge, "all agree on the view", func() error { return agree(nodes...) })
}

// agree tells whether each of nodes is attached and lists exactly all of them.
func agree(nodes ...*node) error {
	for _, n := range nodes {
		v := n.View()
		if err := lists(v, n, nodes...); err != nil {
			return err
		}
		if v.Status != backend.Attached {
			return fmt.Errorf("%s is %v: %v", n, v.Status, v.Err)
		}
	}
	return nil
}

// lists tells whether v, a view of n, is sound and lists exactly nodes.
func lists(v backend.View, n *node, nodes ...*node) error {
	if err := sound(v, n); err != nil {
		return err
	}
	want := make([]backend.Member, len(nodes))
	for i, m := range nodes {
		want[i] = m.self
	}
	slices.SortFunc(want, compareMembers)
	if !slices.EqualFunc(v.Members, want, func(a, b backend.Member) bool { return compareMembers(a, b) == 0 }) {
		return fmt.Errorf("%s lists %s, want %s", n, listing(v.Members), listing(want))
	}
	return nil
}

// sound tells whether v holds n once, is sorted, and has n's index as position.
func sound(v backend.View, n *node) error {
	if !slices.IsSortedFunc(v.Members, compareMembers) {
		return fmt.Errorf("%s: members are not sorted by name and instance: %s", n, listing(v.Members))
	}
	at, times := -1, 0
	for i, m := range v.Members {
		if m.Name == n.self.Name && m.Instance == n.self.Instance {
			at = i
			times++
		}
	}
	if times != 1 {
		return fmt.Errorf("%s is listed %d times in its own view: %s", n, times, listing(v.Members))
	}
	if v.Position != at {
		return fmt.Errorf("%s has position %d in a view where its index is %d: %s", n, v.Position, at, listing(v.Members))
	}
	return nil
}

func compareMembers(a, b backend.Member) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(a.Instance, b.Instance)
}

func listing(members []backend.Member) string {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name + "/" + m.Instance
	}
	return "[" + strings.Join(names, " ") + "]"
}

// within waits until f returns nil, at most for budget b, and takes down the
// time it took.
func (e *env) within(b budget, what string, f func() error) {
	e.Helper()
	e.withinSince(time.Now(), b, what, f)
}

func (e *env) withinSince(start time.Time, b budget, what string, f func() error) {
	e.Helper()
	d := e.suite.budgets.limits[b]
	e.eventually(d-time.Since(start), fmt.Sprintf("%s (budget %v)", what, b), f)
	e.suite.budgets.record(b, time.Since(start))
}

// eventually waits until f returns nil, at most for d, else ends the check with
// the last error.
func (e *env) eventually(d time.Duration, what string, f func() error) {
	e.Helper()
	start := time.Now()
	for {
		looked := time.Now()
		err := f()
		if err == nil {
			return
		}
		left := d - time.Since(start)
		if left <= 0 {
			e.Fatalf("not within %v: %s: %v\n%s", time.Since(start).Round(time.Millisecond), what, err, e.views())
		}
		pause(looked, left)
	}
}

// always checks for as long as d that f returns nil.
func (e *env) always(d time.Duration, what string, f func() error) {
	e.Helper()
	start := time.Now()
	for {
		looked := time.Now()
		if err := f(); err != nil {
			e.Fatalf("after %v: not %s: %v\n%s", time.Since(start).Round(time.Millisecond), what, err, e.views())
		}
		left := d - time.Since(start)
		if left <= 0 {
			return
		}
		pause(looked, left)
	}
}

// pause waits before the next look, so that looking takes a fifth of the time
// at most. The last look comes when nothing is left.
func pause(looked time.Time, left time.Duration) {
	<-time.After(min(left, max(2*time.Millisecond, 4*time.Since(looked))))
}

// done waits for what is closed once f has returned.
func (e *env) done(d time.Duration, what string, c <-chan struct{}) {
	e.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
	case <-timer.C:
		e.Fatalf("not within %v: %s; goroutines:\n%s", d, what, stack(true))
	}
}

// limit returns the time that budget b allows.
func (e *env) limit(b budget) time.Duration { return e.suite.budgets.limits[b] }

// patience is how long to wait for what the contract sets no time for.
func (e *env) patience() time.Duration { return e.scaled(ceilings[detect]) }

// scaled stretches d as the budgets are.
func (e *env) scaled(d time.Duration) time.Duration { return e.h.Timing.stretch(d) }

// views shows every open node's view.
func (e *env) views() string {
	var b strings.Builder
	for _, n := range e.opened() {
		if n.gone.Load() {
			continue
		}
		v := n.View()
		fmt.Fprintf(&b, "  %s: position %d of %s, %v, %v, epoch %d, err %v\n", n, v.Position, listing(v.Members), v.Status, v.Ready, v.Epoch, v.Err)
	}
	return b.String()
}

func (e *env) opened() []*node {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.nodes)
}

// closing is how long a channel has to close.
const closing = 5 * time.Second

// close leaves the cluster.
func (n *node) close() {
	n.env.Helper()
	n.gone.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), n.env.scaled(closing))
	defer cancel()
	if err := n.Close(ctx); err != nil {
		n.env.Errorf("close %s: %v", n, err)
	}
}

func (e *env) closeAll() {
	ctx, cancel := context.WithTimeout(context.Background(), e.scaled(closing))
	defer cancel()
	var wg sync.WaitGroup
	for _, n := range e.opened() {
		wg.Go(func() {
			n.gone.Store(true)
			if err := n.Close(ctx); err != nil {
				e.Logf("close %s at the end: %v", n, err) // the server may be down
			}
		})
	}
	wg.Wait()
}

// closeProxies closes the proxies of all nodes, those too that did not open.
func (e *env) closeProxies() {
	e.mu.Lock()
	proxies := e.proxies
	e.proxies = nil
	e.mu.Unlock()
	for _, p := range proxies {
		_ = p.Close()
	}
}

// others returns the open nodes of the check but n.
func (n *node) others() []*node {
	return slices.DeleteFunc(n.env.opened(), func(m *node) bool { return m == n || m.gone.Load() })
}

// isolate cuts n off from all others, or joins it again.
func (n *node) isolate(cut bool) {
	e := n.env
	e.Helper()
	switch {
	case n.proxy != nil && cut:
		n.proxy.Set(netfault.Refuse)
	case n.proxy != nil:
		n.proxy.Set(netfault.Pass)
	case e.h.Cut != nil:
		for _, m := range n.others() {
			e.h.Cut(e, n.Node, m.Node, cut)
		}
	default:
		e.Fatalf("%s needs Harness.Cut, since the server's address %q is no host:port", e.check.name, n.Server)
	}
}

// canIsolate tells whether the harness can cut n off.
func (n *node) canIsolate() bool { return n.proxy != nil || n.env.h.Cut != nil }

// deafen makes what n sends and what it should hear vanish, with no error, or
// stops that.
func (n *node) deafen(deaf bool) {
	n.env.Helper()
	switch {
	case n.proxy != nil && deaf:
		n.proxy.Set(netfault.Swallow)
	case n.proxy != nil:
		n.proxy.Set(netfault.Pass)
	case n.tap.native():
		n.isolate(deaf)
	default:
		n.tap.setDeaf(deaf)
	}
}

// stall holds back what n sends until release is called.
func (n *node) stall() (release func()) {
	if n.proxy == nil {
		return n.tap.stall()
	}
	n.proxy.Set(netfault.Stall)
	return sync.OnceFunc(func() { n.proxy.Set(netfault.Pass) })
}

// kill ends n as a crash does: nothing that it says on closing is heard.
func (n *node) kill() {
	e := n.env
	e.Helper()
	switch {
	case n.canIsolate():
		n.isolate(true)
	case n.tap.native():
		e.Fatalf("%s needs Harness.Cut: a transport that knows its members would announce the leave", e.check.name)
	}
	n.tap.setDeaf(true)
	n.gone.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), e.scaled(time.Second))
	defer cancel()
	_ = n.Close(ctx) // it cannot say goodbye
	if n.canIsolate() {
		n.isolate(false) // a harness may cut by name, and the name may come back
	}
}

// outage takes the server away, or all links where there is none that may be
// stopped, and returns what brings it back.
func (e *env) outage() (end func()) {
	e.Helper()
	nodes := e.opened()
	switch {
	case e.h.Address != "":
		return e.blink()
	case e.server != nil:
		e.server.Stop(e)
		return func() { e.server.Start(e) }
	}
	set := func(cut bool) {
		for i, a := range nodes {
			for _, b := range nodes[:i] {
				e.h.Cut(e, a.Node, b.Node, cut)
			}
		}
	}
	set(true)
	return func() { set(false) }
}

// blink is an outage that ends when it is told to, while a server takes its time
// to start: all links to it are cut, where that can be.
func (e *env) blink() (end func()) {
	e.Helper()
	nodes := e.opened()
	if nodes[0].proxy == nil {
		return e.outage()
	}
	for _, n := range nodes {
		n.isolate(true)
	}
	return func() {
		for _, n := range nodes {
			n.isolate(false)
		}
	}
}

// metric sums the samples of a metric of n whose labels hold all of labels,
// which are name and value in turn. A histogram counts as its observations. A
// metric that is not there is 0.
func (n *node) metric(name string, labels ...string) float64 {
	n.env.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		n.env.Errorf("%s: gather: %v", n, err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			matches := true
			for i := 0; i+1 < len(labels); i += 2 {
				matches = matches && have[labels[i]] == labels[i+1]
			}
			if matches {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// logBuffer keeps the end of a log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 1<<20 {
		l.buf.Reset()
	}
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// tail returns the last lines.
func (l *logBuffer) tail() string {
	lines := strings.Split(l.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}
