package sim

import (
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// network carries frames. On a bus they pass a broker, which gives all frames to
// all subscribers in one order, the sender included; on a mesh they go from one
// node to another, each on its own.
type network struct {
	w       *World
	up      bool // the broker
	hung    bool // it takes frames and delivers none
	epoch   int  // of the broker: what it held is lost by a restart
	past    []*frame
	subs    []*subscriber
	byID    map[string]*subscriber
	paths   map[path]*condition // by the names of sender and receiver; "" is any
	groups  map[string]int      // nodes of different groups do not reach each other
	redraw  bool                // topology is about to be looked at
	foreign []*foreign
	beats   map[string]*core.Heartbeat // the latest of each instance, as a stranger hears it
	full    map[fullBeat]bool          // those that were not short
}

// frame is what one node sends at once: a message, or updates.
type frame struct {
	from    string // an instance
	to      string // an instance, or empty: all
	message core.Message
	updates []update
	size    int
}

// subscriber is one node's connection.
type subscriber struct {
	p       *process
	last    time.Duration // when the latest frame on its way arrives: a bus keeps the order
	waiting int           // frames on their way, and such as a sleeping process does not read
	slow    time.Duration // that it takes to read one
	lost    bool          // frames were dropped for it
	held    *frame        // to be overtaken by the next one
}

// path is from one node to another.
type path struct{ from, to string }

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

func newNetwork(w *World) *network {
	return &network{w: w, up: true, byID: map[string]*subscriber{}, paths: map[path]*condition{}, groups: map[string]int{}, beats: map[string]*core.Heartbeat{}, full: map[fullBeat]bool{}}
}

func (n *network) transport() core.Transport {
	c := n.w.scenario.Net
	return core.Transport{Native: c.Native, Unicast: c.Unicast, Exchange: c.Exchange, Copies: c.Copies}
}

// on returns the condition of a path, to be changed.
func (n *network) on(from, to string) *condition {
	c := n.paths[path{from, to}]
	if c == nil {
		c = new(condition)
		n.paths[path{from, to}] = c
	}
	return c
}

// of returns what befalls a frame from one node to another.
func (n *network) of(from, to string) condition {
	var sum condition
	if len(n.paths) > 0 {
		for _, p := range [...]path{{from, to}, {"", to}, {from, ""}, {"", ""}} {
			if c := n.paths[p]; c != nil {
				sum.cut += c.cut
				sum.refused += c.refused
				sum.loss = max(sum.loss, c.loss)
				sum.duplicates = max(sum.duplicates, c.duplicates)
				sum.swaps = max(sum.swaps, c.swaps)
				sum.delay = max(sum.delay, c.delay)
			}
		}
	}
	if len(n.groups) > 0 && n.groups[from] != n.groups[to] && from != to {
		sum.cut++
	}
	return sum
}

// attach subscribes p, if the broker is there.
func (n *network) attach(p *process) bool {
	if !n.up {
		return false
	}
	n.detach(p)
	p.link.up = true
	p.link.connection++
	s := &subscriber{p: p}
	n.subs = append(n.subs, s)
	n.byID[p.instance] = s
	p.native.told = false // a driver tells its list after each attachment
	return true
}

// attached gives a new subscriber what it is to hear at once.
func (n *network) attached(p *process) {
	for _, f := range n.past {
		from := ""
		if q := n.w.byID[f.from]; q != nil {
			from = q.name
		}
		n.deliver(n.byID[p.instance], f, from)
	}
	n.topology()
}

func (n *network) detach(p *process) {
	p.link.up = false
	if s := n.byID[p.instance]; s != nil {
		delete(n.byID, p.instance)
		n.subs = slices.DeleteFunc(n.subs, func(o *subscriber) bool { return o == s })
		n.topology()
	}
}

// overflowed reports whether the broker dropped frames for p, and forgets it.
func (n *network) overflowed(p *process) bool {
	s := n.byID[p.instance]
	return s != nil && s.lost
}

// send takes a frame from p.
func (n *network) send(p *process, f *frame) {
	if beat, ok := f.message.(*core.Heartbeat); ok && beat.Like == 0 {
		n.full[fullBeat{p.instance, beat.Incarnation, beat.Count}] = true
	}
	if p.mad && f.message != nil {
		f = &frame{from: f.from, message: n.w.nonsense()}
		f.size = sizeOf(f.message)
	}
	n.w.tally.sent(p, f)
	if beat, ok := f.message.(*core.Heartbeat); ok {
		n.beats[p.instance] = n.told(p, beat)
	}
	if f.to != "" && n.w.scenario.Net.Unicast {
		n.unicast(p, f)
		return
	}
	if !p.link.up || n.hung {
		return
	}
	n.publish(p.name, f)
}

// fullBeat is a heartbeat that was not short.
type fullBeat struct {
	instance    string
	incarnation uint32
	count       uint64
}

// told returns a heartbeat of p with what it says by naming an earlier one.
func (n *network) told(p *process, beat *core.Heartbeat) *core.Heartbeat {
	last := n.beats[p.instance]
	if beat.Like == 0 || p.mad || last == nil {
		return beat
	}
	if !n.full[fullBeat{p.instance, beat.Incarnation, beat.Like}] {
		n.w.fail("%s says that heartbeat %d is like %d, and that was no full one", p.name, beat.Count, beat.Like)
	}
	same := *last
	same.Count, same.Numbers, same.Departed = beat.Count, beat.Numbers, beat.Departed
	return &same
}

// publish gives f to all subscribers. The sender has its own frame back on a bus.
func (n *network) publish(from string, f *frame) {
	if keep := n.w.scenario.Net.Replay; keep > 0 {
		n.past = append(n.past, f)
		n.past = n.past[max(0, len(n.past)-keep):]
	}
	for _, s := range n.subs {
		if s.p.instance == f.from && s.p.name == from && n.w.scenario.Net.Mesh {
			continue
		}
		n.deliver(s, f, from)
	}
}

// unicast gives f to one node, or tells the sender that it cannot.
func (n *network) unicast(p *process, f *frame) {
	s := n.byID[f.to]
	if s == nil || !p.link.up || n.of(p.name, s.p.name).refused > 0 || !n.w.scenario.Net.Mesh && n.hung {
		if f.message != nil {
			p.after(n.w.scenario.Net.Latency, func() { p.step(core.Unsent{To: f.to}) })
		}
		return
	}
	n.deliver(s, f, p.name)
}

// deliver has f arrive at s, as the path from the sender wants it.
func (n *network) deliver(s *subscriber, f *frame, from string) {
	c := n.of(from, s.p.name)
	pieces := 1
	if most := n.w.scenario.Net.MaxFrame; most > 0 {
		pieces = (f.size + most - 1) / most
	}
	if c.cut > 0 {
		return
	}
	for range pieces {
		if n.w.chance(c.loss) {
			return
		}
	}
	if s.waiting >= slack {
		s.lost = true
		return
	}
	n.arrive(s, f, c, pieces, 0)
	if n.w.chance(c.duplicates) {
		copies := n.w.scenario.Net.Copies
		if copies == 0 {
			copies = time.Second
		}
		n.arrive(s, f, c, 1, n.w.between(0, copies-copies/10))
	}
}

func (n *network) arrive(s *subscriber, f *frame, c condition, pieces int, late time.Duration) {
	latency := n.w.scenario.Net.Latency
	at := n.w.now + n.w.between(latency/2, latency) + late + n.w.between(0, c.delay)
	if !n.w.scenario.Net.Mesh && late == 0 {
		at = max(at, s.last+s.slow)
		s.last = at
	}
	if pieces > 1 {
		for i := 1; i < min(pieces, 16); i++ {
			n.w.at(at, func() { s.p.do(func() { s.p.step(core.Progress{From: f.from}) }) })
			at += n.w.between(0, latency)
		}
	}
	s.waiting++
	swap := n.w.chance(c.swaps)
	epoch, connection := n.epoch, s.p.link.connection
	n.w.at(at, func() {
		if s.p.link.connection != connection || !s.p.link.up || n.epoch != epoch {
			return
		}
		if swap && s.held == nil {
			s.held = f
			n.w.after(5*time.Millisecond, func() { s.release(f) })
			return
		}
		s.read(f)
		s.release(s.held)
	})
}

// release lets a frame through that was held back.
func (s *subscriber) release(f *frame) {
	if f != nil && s.held == f {
		s.held = nil
		s.read(f)
	}
}

// read gives f to the process, when it runs.
func (s *subscriber) read(f *frame) {
	s.p.do(func() {
		s.waiting--
		s.p.hear(f)
	})
}

// stop takes the broker away: what it holds is lost, and all connections.
func (n *network) stop() {
	n.up = false
	n.epoch++
	for _, s := range slices.Clone(n.subs) {
		s.p.disconnect(errBroker, n.w.between(50*time.Millisecond, 500*time.Millisecond))
	}
}

// ended notes that a process is no more.
func (n *network) ended(p *process, graceful bool) {
	n.detach(p)
	if graceful {
		n.farewell(p)
	}
}
