package nemesis

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// node is one run of a node.
type node struct {
	conformance.Node
	w    *world
	key  string // by which the world knows it: its name, but for a twin
	seat seat
	link *link
	log  *testkit.Log // of the node
	seen *testkit.Log // its views

	ctx    context.Context // done when the node is to end
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ending atomic.Bool   // it is told to leave, or killed
	gone   chan struct{} // closed when it has ended
	wrote  atomic.Int64  // entries

	mu      sync.Mutex
	self    backend.Member
	last    backend.View
	has     map[string]map[string]bool // entries, by state
	without map[string]bool            // states that are removed
	paused  bool
	woke    time.Duration // when it last went on, on the canary's clock
}

// String returns the node's name and number.
func (n *node) String() string { return fmt.Sprintf("%s.%d", n.Name, n.ID) }

var lastID atomic.Int64

// link returns the link of the nodes of that name.
func (w *world) linkOf(name string) (*link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.links[name]; l != nil {
		return l, nil
	}
	var p *netfault.Proxy
	if proxied(w.server) {
		var err error
		if p, err = netfault.Listen(w.server.Addr); err != nil {
			return nil, err
		}
	}
	w.links[name] = newLink(p)
	return w.links[name], nil
}

// proxied reports whether a proxy stands between the server and each node.
func proxied(server conformance.Server) bool {
	if server == nil {
		return false
	}
	_, _, err := net.SplitHostPort(server.Addr())
	return err == nil
}

// never is the longest period that there is.
const never = 24 * time.Hour

// opening is how long Open may take: the contract says a second.
const opening = 5 * time.Second

// start opens a node of that name, if none lives.
func (w *world) start(name string) { w.startAs(name, name) }

// startAs opens a node that is known as key here, if none is.
func (w *world) startAs(key, name string) {
	if w.living(key) != nil {
		return
	}
	if f := w.former(key); f != nil && w.processes { // its process may have the address that the new one needs
		<-f.gone
	}
	n := &node{
		Node: conformance.Node{ID: int(lastID.Add(1)), Name: name, Cluster: w.cluster},
		w:    w, key: key, log: &testkit.Log{}, seen: &testkit.Log{}, has: map[string]map[string]bool{}, without: map[string]bool{}, gone: make(chan struct{}),
	}
	for _, key := range allKeys {
		n.has[key] = map[string]bool{}
	}
	var err error
	if n.link, err = w.linkOf(key); err != nil {
		w.tb.Fatalf("the proxy of %s: %v", name, err)
	}
	if w.server != nil {
		n.Server = w.server.Addr()
		if n.link.proxy != nil {
			n.Server = n.link.proxy.Addr()
		}
	}
	o := settings{Backend: w.h.Backend, Cluster: w.cluster, Name: name, Timing: w.timing}
	if w.schedule.Hold {
		o.OnIsolation = backend.HoldView
	}
	if w.schedule.NoSync {
		o.Timing.Sync = never
	}
	if w.h.Params != nil {
		o.Params = w.h.Params(w.tb, n.Node)
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	began := w.canary.Now()
	if n.seat, err = w.open(n, o); err != nil {
		w.fail(lifecycle, "%s cannot be opened: %v", n, err)
		return
	}
	if took := w.canary.Now() - began; took > opening {
		w.fail(lifecycle, "to open %s took %v", n, took)
	}
	n.link.take(n.seat)
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	w.live[key] = n
	w.mu.Unlock()
	w.say("%s is %s/%s", n, name, n.view().Self().Instance)
	w.cuts.joined(w, n)
	n.wg.Go(n.write)
}

// open takes a seat for n.
func (w *world) open(n *node, s settings) (seat, error) {
	if w.processes {
		return openProcess(s, n.log, n)
	}
	b, _ := backend.Lookup(w.h.Backend)
	inner := b.Open
	if w.h.Driver != nil {
		inner = w.h.Driver(w.tb, n.Node)
	}
	return openAgent(w.channel, s, newTap(inner), n.log, n)
}

// viewed implements audience.
func (n *node) viewed(v backend.View) {
	fmt.Fprintf(n.seen, "%s %s\n", time.Now().Format(clock), show(v))
	n.w.sound(n, v)
	n.w.steady(n, v)
}

// member returns the node as others list it.
func (n *node) member() backend.Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.self
}

// got implements audience.
func (n *node) got(key, name string, sum uint32) {
	n.w.judged(intact)
	if err := n.w.ledger.wrote(key, name, sum); err != nil {
		n.w.fail(intact, "%s was given what nobody wrote: %v", n, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.has[key][name] = true
}

// damaged implements audience.
func (n *node) damaged(key string) { n.w.fail(intact, "%s was given damaged bytes for %s", n, key) }

// view returns the latest one that the node has told.
func (n *node) view() backend.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// holds returns the entries that the node has of a state.
func (n *node) holds(key string) map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.has[key])
}

// pace is how often a node writes, about.
const pace = 100 * time.Millisecond

// write writes entries until the world is quiet, or the node ends.
func (n *node) write() {
	r := rand.New(rand.NewPCG(n.w.schedule.Seed, uint64(n.ID)))
	next := time.NewTimer(pace)
	defer next.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.w.quiet:
			return
		case <-next.C:
		}
		n.put(keys[r.IntN(len(keys))], 10+r.IntN(300))
		next.Reset(time.Duration(float64(pace) * (0.5 + r.Float64())))
	}
}

// put writes an entry of so many bytes. While the state is removed nobody is told of
// it, so that only a periodic comparison finds it: without one, nothing is written.
func (n *node) put(key string, size int) {
	if n.w.schedule.NoSync && n.removed(key) {
		return
	}
	name := fmt.Sprintf("%s/%d", n, n.wrote.Add(1))
	n.note(key, name, size)
	n.seat.put(key, name, size)
}

// remove ends the exchange of a state until back is called.
func (n *node) remove(key string) (back func()) {
	n.mu.Lock()
	n.without[key] = true
	n.mu.Unlock()
	n.seat.remove(key)
	return func() {
		if err := n.seat.add(key); err != nil && !n.ending.Load() {
			n.w.fail(lifecycle, "%s: %v", n, err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.without, key)
	}
}

func (n *node) removed(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.without[key]
}

// note notes an entry of the node's own.
func (n *node) note(key, name string, size int) {
	n.w.ledger.write(key, name, size)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.has[key][name] = true
}

// leave closes the node of that name gracefully.
func (w *world) leave(name string) {
	if n := w.take(name); n != nil {
		defer close(n.gone)
		n.close(closing)
		w.say("%s has left", n)
	}
}

// How long a channel has to close: when it may say goodbye, and when it cannot.
const (
	closing = 5 * time.Second
	killing = time.Second
)

// kill ends the node of that name as a crash does: nobody hears what it sends on
// closing.
func (w *world) kill(name string) {
	n := w.take(name)
	if n == nil {
		return
	}
	defer close(n.gone)
	if p, ok := n.seat.(abrupt); ok {
		p.kill()
		n.cancel()
		n.wg.Wait()
	} else {
		heal := w.isolate(name)
		n.close(killing)
		heal()
	}
	w.say("%s was killed", n)
}

// former returns the latest node of that key, or nil.
func (w *world) former(key string) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range slices.Backward(w.nodes) {
		if n.key == key {
			return n
		}
	}
	return nil
}

// take removes the node of that name from those that live, and returns it, or nil.
func (w *world) take(name string) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.live[name]
	if n != nil {
		n.ending.Store(true)
		delete(w.live, name)
	}
	return n
}

// close ends the node. Close must return soon after its context has ended,
// whatever the server does.
func (n *node) close(limit time.Duration) {
	n.w.judged(lifecycle)
	n.resume()
	began := n.w.canary.Now()
	err := n.seat.close(limit)
	if took := n.w.canary.Now() - began; took > limit+2*time.Second {
		n.w.fail(lifecycle, "Close of %s took %v; its context ended after %v", n, took, limit)
	}
	n.w.say("%s is closed: %v", n, err)
	if p, ok := n.seat.(abrupt); ok {
		if left := p.end(); left != "" {
			n.w.fail(resources, "the process of %s, which was closed, holds %s", n, left)
		}
	}
	n.cancel()
	n.wg.Wait()
}

// pause lets the node's process stand still until end is called.
func (n *node) pause() (end func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = true
	n.seat.(abrupt).pause()
	return n.resume
}

func (n *node) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused {
		n.paused, n.woke = false, n.w.canary.Now()
		n.seat.(abrupt).resume()
	}
}

// awake reports whether the node has run for at least so long.
func (n *node) awake(d time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.paused && n.w.canary.Now()-n.woke > d
}

// clock is how logs show the time of a day, as those of the nodes do.
const clock = "15:04:05.000"

// show returns a line on a view.
func show(v backend.View) string {
	names := make([]string, len(v.Members))
	for i, m := range v.Members {
		names[i] = m.Name + "/" + m.Instance
	}
	line := fmt.Sprintf("position %d of [%s], %v, %v, epoch %d", v.Position, strings.Join(names, " "), v.Status, v.Ready, v.Epoch)
	if len(v.Unready) > 0 {
		line += fmt.Sprintf(", unready %q", v.Unready)
	}
	if v.Isolated {
		line += ", isolated"
	}
	if len(v.Disputed) > 0 {
		line += fmt.Sprintf(", disputed %q", v.Disputed)
	}
	if v.Err != nil {
		line += fmt.Sprintf(": %v", v.Err)
	}
	return line
}
