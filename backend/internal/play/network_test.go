package play_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/internal/codec"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const cluster = "play"

var errBroker = errors.New("the broker is gone")

// network carries the frames of real nodes as the simulator's does: a bus, which
// gives all frames to all in one order, the sender included; or a mesh, on which
// each goes its own way.
type network struct {
	w *world

	mu     sync.Mutex
	rand   *rand.Rand
	up     bool // the broker
	hung   bool // it takes frames and delivers none
	epoch  int  // of the broker: what it held is lost by a restart
	past   []sent
	conns  []*conn                    // attached
	paths  map[[2]string]*condition   // by the names of sender and receiver; "" is any
	groups map[string]int             // nodes of different groups do not reach each other
	peers  map[string]*peer           // by instance: all that ever opened a driver
	beats  map[string]*core.Heartbeat // the latest of each instance, as a stranger hears it
	recent [][]byte
	counts map[string]float64
	redraw bool // topology is about to be looked at
}

// sent is a frame, and the name of who sent it.
type sent struct {
	from  string
	frame []byte
}

// peer is what the network knows of a process.
type peer struct {
	p       *process
	self    driver.Member
	conn    *conn // nil: not attached
	dead    bool
	mad     bool     // what it sends is damaged
	without []string // kinds of message that its version does not know
	opened  int
	native  nativeView
}

// condition is what befalls the frames of a path.
type condition struct {
	cut        int // how many faults cut it
	refused    int // how many faults make unicasts fail
	loss       float64
	duplicates float64
	swaps      float64
	delay      time.Duration // at most, each frame its own
}

// slack is how many frames a broker keeps for a subscriber that does not read.
const slack = 4096

func newNetwork(w *world) *network {
	return &network{
		w: w, rand: rand.New(rand.NewPCG(w.scenario.Seed, 3)), up: true, paths: map[[2]string]*condition{}, groups: map[string]int{},
		peers: map[string]*peer{}, beats: map[string]*core.Heartbeat{}, counts: map[string]float64{},
	}
}

// change changes the conditions of the paths from a to b.
func (n *network) change(a, b []string, f func(c *condition)) {
	n.mu.Lock()
	for _, from := range a {
		for _, to := range b {
			key := [2]string{from, to}
			if n.paths[key] == nil {
				n.paths[key] = new(condition)
			}
			f(n.paths[key])
		}
	}
	n.mu.Unlock()
	n.topology()
}

// of returns what befalls a frame from one node to another. n.mu is held, here and
// below where nothing else is said.
func (n *network) of(from, to string) (sum condition) {
	for _, p := range [...][2]string{{from, to}, {"", to}, {from, ""}, {"", ""}} {
		if c := n.paths[p]; c != nil {
			sum.cut += c.cut
			sum.refused += c.refused
			sum.loss = max(sum.loss, c.loss)
			sum.duplicates = max(sum.duplicates, c.duplicates)
			sum.swaps = max(sum.swaps, c.swaps)
			sum.delay = max(sum.delay, c.delay)
		}
	}
	if n.groups[from] != n.groups[to] && from != to {
		sum.cut++
	}
	return sum
}

func (n *network) chance(p float64) bool { return p > 0 && n.rand.Float64() < p }

func (n *network) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(n.rand.Int64N(int64(hi-lo)+1))
}

// send takes a frame from a node.
func (n *network) send(from *peer, frame []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if from.dead {
		return
	}
	frame = n.note(from, frame)
	if from.conn != nil && !n.hung {
		n.publish(from.p.name, from.self.Instance, frame)
	}
}

// sendTo takes a frame for one node. It reports whether that can be reached.
func (n *network) sendTo(from *peer, to string, frame []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if from.dead {
		return true
	}
	frame = n.note(from, frame)
	q := n.peers[to]
	if q == nil || q.conn == nil || from.conn == nil || n.of(from.p.name, q.p.name).refused > 0 || !n.w.scenario.Net.Mesh && n.hung {
		return false
	}
	n.deliver(q.conn, frame, from.p.name)
	return true
}

// publish gives a frame to all. The sender has its own back on a bus.
func (n *network) publish(name, instance string, frame []byte) {
	if keep := n.w.scenario.Net.Replay; keep > 0 {
		n.past = append(n.past, sent{name, frame})
		n.past = n.past[max(0, len(n.past)-keep):]
	}
	for _, c := range n.conns {
		if n.w.scenario.Net.Mesh && c.peer.self.Instance == instance && name != "" {
			continue
		}
		n.deliver(c, frame, name)
	}
}

// forge publishes a stranger's frame.
func (n *network) forge(instance string, frame []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.up && !n.hung {
		n.publish("", instance, frame)
	}
}

// deliver has a frame arrive, as the path from the sender wants it.
func (n *network) deliver(c *conn, frame []byte, from string) {
	on := n.of(from, c.peer.p.name)
	if on.cut > 0 || n.chance(on.loss) {
		return
	}
	if c.waiting >= slack {
		return
	}
	n.arrive(c, frame, on, 0)
	if n.chance(on.duplicates) {
		copies := n.w.scenario.Net.Copies
		if copies == 0 {
			copies = time.Second
		}
		n.arrive(c, frame, on, n.between(1, copies-copies/10))
	}
}

func (n *network) arrive(c *conn, frame []byte, on condition, late time.Duration) {
	latency := n.w.scenario.Net.Latency
	now := n.w.now()
	at := now + n.between(latency/2, latency) + late + n.between(0, on.delay)
	if !n.w.scenario.Net.Mesh && late == 0 { // a bus keeps the order
		at = max(at, c.last+max(c.slow, 1))
		c.last = at
	}
	c.waiting++
	swap := n.chance(on.swaps)
	epoch, subscription := n.epoch, c.subscription
	time.AfterFunc(at-now, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		c.waiting--
		if c.peer.conn != c || c.subscription != subscription || n.epoch != epoch {
			return
		}
		if swap && c.held == nil {
			c.held = frame
			time.AfterFunc(5*time.Millisecond, func() {
				n.mu.Lock()
				defer n.mu.Unlock()
				c.release()
			})
			return
		}
		c.read(frame)
		c.release()
	})
}

// stop takes the broker away: what it holds is lost, and all connections.
func (n *network) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up = false
	n.epoch++
	for _, c := range n.conns {
		time.AfterFunc(n.between(50*time.Millisecond, 500*time.Millisecond), c.lost)
	}
}

func (n *network) restart() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up = true
}

func (n *network) hang(hung bool) {
	n.mu.Lock()
	n.hung = hung
	n.mu.Unlock()
	n.topology()
}

func (n *network) split(groups map[string]int) {
	n.mu.Lock()
	n.groups = groups
	n.mu.Unlock()
	n.topology()
}

func (n *network) slow(p *process, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.peerOf(p).conn; c != nil {
		c.slow = d
	}
}

// relink has the driver of p subscribe again: what is on its way to it is lost.
func (n *network) relink(p *process) {
	n.mu.Lock()
	c := n.peerOf(p).conn
	if c != nil && n.up {
		c.subscription++
		c.peer.native.told = false
		c.push(func(h driver.Handler) { h.Link(nil) })
		n.replay(c)
	}
	n.mu.Unlock()
	n.topology()
}

// replay gives a new subscriber what it is to hear at once.
func (n *network) replay(c *conn) {
	for _, s := range n.past {
		n.deliver(c, s.frame, s.from)
	}
}

func (n *network) without(p *process, kinds []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peerOf(p).without = kinds
}

func (n *network) derange(p *process, mad bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peerOf(p).mad = mad
}

func (n *network) peerOf(p *process) *peer {
	if q := n.peers[p.instance]; q != nil {
		return q
	}
	return &peer{p: p} // it never opened a driver
}

// kill cuts off a process for good.
func (n *network) kill(p *process) {
	n.mu.Lock()
	q := n.peerOf(p)
	q.dead = true
	if q.conn != nil {
		n.detach(q.conn)
	}
	n.mu.Unlock()
	n.topology()
}

func (n *network) detach(c *conn) {
	n.conns = slices.DeleteFunc(n.conns, func(o *conn) bool { return o == c })
	if c.peer.conn == c {
		c.peer.conn = nil
	}
}

// open opens a driver for p.
func (n *network) open(p *process, o driver.Options) (driver.Driver, error) {
	n.mu.Lock()
	q := n.peers[o.Self.Instance]
	if q == nil {
		q = &peer{p: p, self: o.Self}
		q.self.Addr = p.name + ":1"
		q.native.init()
		n.peers[o.Self.Instance] = q
	}
	if !n.up || q.dead {
		n.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", driver.ErrUnavailable, errBroker)
	}
	if q.opened++; q.opened > 1 {
		n.counts["reopens"]++
	}
	c := &conn{net: n, peer: q, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	c.lost = sync.OnceFunc(func() { close(c.ended) })
	q.conn = c
	q.native.told = false
	n.conns = append(n.conns, c)
	n.replay(c)
	n.mu.Unlock()
	n.topology()
	return c, nil
}

// conn is the driver of one node.
type conn struct {
	net   *network
	peer  *peer
	lost  func()
	ended chan struct{} // closed by lost

	// All below is under the network's lock.
	queue        []func(h driver.Handler)
	wake         chan struct{}
	subscription int
	last         time.Duration // when the latest frame on its way arrives
	waiting      int           // frames on their way
	slow         time.Duration // that it takes to read one
	held         []byte        // a frame that is to be overtaken by the next one
	echo         time.Duration // when the node last heard itself
}

// Caps implements driver.Driver.
func (c *conn) Caps() driver.Caps {
	s := c.net.w.scenario.Net
	caps := driver.Caps{MaxFrame: s.MaxFrame, Linger: s.Copies, Membership: s.Native}
	if s.Unicast {
		caps.Send = func(_ context.Context, to driver.Member, frame []byte) error {
			if !c.net.sendTo(c.peer, to.Instance, frame) {
				return fmt.Errorf("%w: %s", driver.ErrUnavailable, to.Instance)
			}
			return nil
		}
	}
	return caps
}

// Serve implements driver.Driver.
func (c *conn) Serve(ctx context.Context, h driver.Handler) error {
	h.Link(nil)
	for {
		c.net.mu.Lock()
		queue := c.queue
		c.queue = nil
		c.net.mu.Unlock()
		for _, do := range queue {
			do(h)
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-c.wake:
		case <-c.ended:
			return fmt.Errorf("%w: %w", driver.ErrUnavailable, errBroker)
		case <-ctx.Done():
			return nil
		}
	}
}

// Broadcast implements driver.Driver.
func (c *conn) Broadcast(_ context.Context, frame []byte) error {
	c.net.send(c.peer, frame)
	return nil
}

// Close implements driver.Driver.
func (c *conn) Close(context.Context) error {
	c.net.mu.Lock()
	c.net.detach(c)
	c.net.mu.Unlock()
	c.net.topology()
	return nil
}

// push hands something to Serve.
func (c *conn) push(do func(h driver.Handler)) {
	c.queue = append(c.queue, do)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// read gives a frame to the node.
func (c *conn) read(frame []byte) {
	kind, from := kindOf(frame)
	if slices.Contains(c.peer.without, kind) {
		return
	}
	if kind == "Heartbeat" && from == c.peer.self.Instance {
		c.echo = c.net.w.now()
	}
	c.push(func(h driver.Handler) { h.Frame(frame) })
}

// release lets a frame through that was held back.
func (c *conn) release() {
	if c.held != nil && c.peer.conn == c {
		c.read(c.held)
	}
	c.held = nil
}

var kinds = map[wire.Kind]string{
	wire.Heartbeat: "Heartbeat", wire.Goodbye: "Goodbye", wire.Void: "Void", wire.List: "List", wire.ListAsked: "ListRequest",
	wire.Missing: "Missing", wire.Kept: "Kept", wire.Pull: "Pull", wire.Answer: "Answer", wire.Push: "Push", wire.Chunk: "Chunk",
	wire.Walk: "Walk", wire.Walked: "Walked",
}

func kindOf(frame []byte) (kind, from string) {
	var f wire.Frame
	if wire.Decode(frame, &f) != nil {
		return "", ""
	}
	return kinds[f.Kind], string(f.Origin)
}

// note counts a frame, and keeps of it what strangers hear. It returns what is sent
// in its place.
func (n *network) note(from *peer, b []byte) []byte {
	b = slices.Clone(b)
	var f wire.Frame
	if err := wire.Decode(b, &f); err != nil {
		n.w.t.Errorf("%s sends what cannot be decoded: %v", from.self.Name, err)
		return b
	}
	n.counts["frames"]++
	n.counts["bytes"] += float64(len(b))
	switch {
	case f.Kind == wire.Update:
		n.counts["updates"]++
	case f.Kind == wire.Batch:
		n.counts["updates"] += float64(len(f.Updates))
	default:
		n.counts[kinds[f.Kind]]++
	}
	n.recent = append(n.recent, b)
	n.recent = n.recent[max(0, len(n.recent)-64):]
	if f.Kind == wire.Heartbeat {
		if m, err := codec.Decode(f.Kind, f.Message); err == nil {
			beat := m.(*core.Heartbeat)
			if last := n.beats[from.self.Instance]; last != nil && beat.Like != 0 { // it says the same
				last.Count = beat.Count
			} else {
				beat.Member, beat.Like = core.Member(from.self), 0
				n.beats[from.self.Instance] = beat
			}
		}
	}
	if from.mad && f.Kind.IsMessage() {
		return n.damage(b)
	}
	return b
}

// heartbeat returns one such as p might say next.
func (n *network) heartbeat(p *process) core.Heartbeat {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last := n.beats[p.instance]; last != nil {
		beat := *last
		beat.Count++
		return beat
	}
	return core.Heartbeat{Member: core.Member{Name: p.name, Instance: p.instance}, Interval: n.w.scenario.Timing.Heartbeat, Count: 1, Worth: core.Whole}
}

// damaged returns a frame of somebody with some bytes changed.
func (n *network) damaged() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.damage(n.recent[n.rand.IntN(len(n.recent))])
}

func (n *network) damage(b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + n.rand.IntN(4) {
		b[n.rand.IntN(len(b))] = byte(n.rand.Uint32())
	}
	return b
}
