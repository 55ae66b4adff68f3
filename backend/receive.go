package backend

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/internal/codec"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// rejectReasons are the values of the label reason of
// clusterchannel_frames_rejected_total: what the shell finds wrong with a frame,
// and then what the core does not believe.
var rejectReasons = []string{
	"malformed", "version", "cluster", "chunk", "overflow",
	"instance", "member", "name", "incarnation", "number",
}

// largeUpdate is from how many bytes on an update has a buffer of its own.
const largeUpdate = 64 << 10

var frames = sync.Pool{New: func() any { return new(wire.Frame) }}

// Frame implements driver.Handler.
func (s *session) Frame(b []byte) {
	if !s.over.Load() {
		s.node.receive(s, b, false)
	}
}

// receive handles one frame: updates go to their states, messages to the core. b
// is the driver's again afterwards, unless this node has put it together.
func (n *node) receive(s *session, b []byte, together bool) {
	f := frames.Get().(*wire.Frame)
	defer frames.Put(f)
	if err := wire.Decode(b, f); err != nil {
		if errors.Is(err, wire.ErrVersion) {
			n.otherVersion(f, err)
		} else {
			n.reject("malformed", "a foreign frame; something else uses our address, channel or subject", "bytes", len(b))
		}
		return
	}
	switch {
	case f.Version == 0:
		n.receiveForeign(s, f, len(b))
	case len(f.Origin) == 0:
		n.reject("malformed", "a frame that names no origin", "bytes", len(b))
	case f.Cluster != n.cluster:
		n.reject("cluster", "cluster label mismatch: a frame of another cluster", "origin", string(f.Origin))
	case len(f.Key) > maxKeyBytes:
		n.reject("malformed", "an update whose key is longer than a key can be", "origin", string(f.Origin), "bytes", len(f.Key))
	case f.Kind == wire.Update:
		now := time.Now()
		n.said.heard(f.Origin, "update", f.Key, now)
		n.heardClock(f.Origin, int64(f.Sent), now)
		var own []byte
		if together {
			own = b
		}
		n.receiveUpdate(f, len(b), n.engine.at(now), own)
	case f.Kind == wire.Batch:
		n.receiveBatch(f)
	case f.Kind == wire.Chunk:
		n.receiveChunk(s, f, together)
	case f.Kind.IsMessage():
		n.receiveMessage(f, b, together)
	default:
		n.reject("malformed", "a frame of no kind that is known", "origin", string(f.Origin), "kind", f.Kind)
	}
}

func (n *node) reject(reason, msg string, args ...any) {
	n.met.rejected.WithLabelValues(reason).Inc()
	n.log.warn("reject:"+reason, msg, args...)
}

// Reject implements driver.Handler.
func (s *session) Reject(why driver.Reason, err error) {
	if s.over.Load() {
		return
	}
	if !slices.Contains(rejectReasons, string(why)) {
		why = driver.Malformed
	}
	if why == driver.Overflow {
		s.node.reject(string(why), "the transport drops frames that arrive faster than they are handled", "err", err)
		return
	}
	s.node.reject(string(why), "the transport brought something that is no frame", "err", err)
}

// otherVersion handles a frame of a node that speaks another version.
func (n *node) otherVersion(f *wire.Frame, err error) {
	if f.Cluster != n.cluster {
		n.reject("cluster", "cluster label mismatch: a frame of another cluster", "origin", string(f.Origin))
		return
	}
	n.met.rejected.WithLabelValues("version").Inc()
	who := n.strangers.heard(string(f.Origin), f.OldName(), f.Version)
	n.log.warn("version:"+who.Instance, "a node of this cluster speaks another version of the protocol, and is no member for this one: update it, or this one",
		"member", who.Name, "instance", who.Instance, "version", who.Version, "own_version", wire.Version, "err", err)
}

// receiveForeign handles an update of a peer that is not ours, where the
// transport has such peers: it has no number.
func (n *node) receiveForeign(s *session, f *wire.Frame, size int) {
	if !s.caps.Exchange || len(f.Key) == 0 {
		n.reject("malformed", "a foreign frame; something else uses our address, channel or subject", "bytes", size)
		return
	}
	st := (*n.states.Load())[string(f.Key)]
	if st != nil && st.echoes.repeated(f.Data, time.Now()) {
		n.met.duplicates.Inc()
		return
	}
	n.met.update.in(1, size)
	if st != nil && !st.enqueue(f.Data, nil, entry{}) {
		n.met.drop(st.key, "inbound_overflow")
	}
}

// A batch is handed to the core in runs: each takes its lock once.
const (
	runUpdates = 64
	runBytes   = 64 << 10
)

// run are updates of one origin that arrived together, and what became of them.
type run struct {
	decoded wire.Frame
	updates []arrival

	count, bytes int // of those that are counted as received
	duplicates   int
	full         []*state // that had no room for one
	refused      []uint64
}

// arrival is an update that arrived. Where it is large it is in a buffer of its own.
type arrival struct {
	key, data   []byte
	home        []byte // that buffer
	incarnation uint32
	number      uint64
	sent        int64
	size        int
}

var runs = sync.Pool{New: func() any { return new(run) }}

func (n *node) receiveBatch(f *wire.Frame) {
	r := runs.Get().(*run)
	defer runs.Put(r)
	now := time.Now()
	for rest := f.Updates; len(rest) > 0; {
		taken, ok := r.take(n, f, rest)
		if rest = rest[taken:]; ok && len(rest) == 0 { // the last one tells of all: they left together
			last := &r.updates[len(r.updates)-1]
			n.said.heard(f.Origin, "update", last.key, now)
			n.heardClock(f.Origin, last.sent, now)
		}
		n.receiveRun(r, f.Origin, n.engine.at(now))
		if !ok {
			n.reject("malformed", "a batch holds something that is no update of its origin", "origin", string(f.Origin))
			return
		}
	}
}

// take decodes the first of the updates of the batch f. It reports whether that could
// be done.
func (r *run) take(n *node, f *wire.Frame, updates [][]byte) (taken int, ok bool) {
	u, bytes := &r.decoded, 0
	for _, b := range updates {
		if taken == runUpdates || bytes >= runBytes {
			break
		}
		if f.DecodeUpdate(b, u) != nil || u.Kind != wire.Update || len(u.Key) > maxKeyBytes || string(u.Origin) != string(f.Origin) || u.Cluster != n.cluster {
			return taken, false
		}
		r.add(n, u, len(b), nil)
		bytes += len(u.Data)
		taken++
	}
	return taken, true
}

// add puts an update into the run. Where it is in a buffer of this node's own, it
// stays there.
func (r *run) add(n *node, u *wire.Frame, size int, own []byte) {
	a := arrival{key: u.Key, data: u.Data, incarnation: u.Incarnation, number: u.Number, sent: int64(u.Sent), size: size}
	switch {
	case len(u.Data) <= largeUpdate || (*n.states.Load())[string(u.Key)] == nil:
	case own != nil:
		a.home = own
	default: // to copy it takes too long under the core's lock
		a.data = append(arenas.get(len(u.Data)), u.Data...)
		a.home = a.data
	}
	r.updates = append(r.updates, a)
}

// receiveUpdate queues an update for its state, unless the core says that it
// arrived before.
func (n *node) receiveUpdate(f *wire.Frame, size int, now time.Duration, own []byte) {
	r := runs.Get().(*run)
	defer runs.Put(r)
	r.add(n, f, size, own)
	n.receiveRun(r, f.Origin, now)
}

// receiveRun queues the updates of a run for their states, but those of which the core
// says that they arrived before. The run is empty afterwards.
func (n *node) receiveRun(r *run, origin []byte, now time.Duration) {
	e, states := n.engine, *n.states.Load()
	wake := false
	e.mu.Lock()
	for i := range r.updates {
		wake = r.receive(e.core, &r.updates[i], origin, states, now) || wake
	}
	if wake {
		e.collect()
	}
	e.mu.Unlock()
	r.tell(n, origin)
	clear(r.updates)
	clear(r.full)
	r.updates, r.full, r.refused = r.updates[:0], r.full[:0], r.refused[:0]
	r.count, r.bytes, r.duplicates = 0, 0, 0
}

// receive queues one update. The core's lock is held.
func (r *run) receive(c *core.Core, a *arrival, origin []byte, states map[string]*state, now time.Duration) (wake bool) {
	verdict, ref, wake := c.Receive(now, origin, a.key, a.incarnation, a.number)
	switch verdict {
	case core.Own:
		return wake
	case core.Duplicate:
		r.duplicates++
		return wake
	case core.Refused:
		r.refused = append(r.refused, a.number)
		return wake
	}
	r.count++
	r.bytes += a.size
	if verdict != core.Deliver {
		return wake
	}
	st := states[string(a.key)]
	full := st != nil && !st.enqueue(a.data, a.home, entry{sent: a.sent, ref: ref, numbered: true})
	if full {
		r.full = append(r.full, st)
	}
	return c.Queued(now, ref, st != nil && !full) || wake
}

// tell counts what became of a run.
func (r *run) tell(n *node, origin []byte) {
	if r.count > 0 {
		n.met.update.in(r.count, r.bytes)
	}
	if r.duplicates > 0 {
		n.met.duplicates.Add(float64(r.duplicates))
	}
	for _, st := range r.full {
		n.met.drop(st.key, "inbound_overflow")
	}
	for _, number := range r.refused {
		n.reject("number", "an update whose number cannot be", "origin", string(origin), "number", number)
	}
}

func (n *node) receiveChunk(s *session, f *wire.Frame, together bool) {
	if !f.IsFor(n.self.Instance) || string(f.Origin) == n.self.Instance {
		return
	}
	origin := string(f.Origin)
	out := n.assembly.add(f, n.engine.now())
	if out.refuse || together {
		n.reject("chunk", "a piece of a larger frame that is refused", "origin", origin)
		return
	}
	if out.tell {
		n.engine.step(core.Progress{From: origin})
	}
	if out.whole != nil {
		n.receive(s, out.whole, true)
	}
}

// receiveMessage tells the core what another node says. Of its own messages a node
// hears its heartbeats, and what somebody else says in its name. The message is in the
// frame whole, which stays this node's if it was put together.
func (n *node) receiveMessage(f *wire.Frame, whole []byte, together bool) {
	own := string(f.Origin) == n.self.Instance
	if !f.IsFor(n.self.Instance) || own && f.Kind != wire.Heartbeat && f.Kind != wire.Goodbye {
		return
	}
	if n.engine.full() {
		n.reject("overflow", "messages arrive faster than they are handled")
		return
	}
	body, home := f.Message, whole
	switch {
	case together:
	case f.Kind == wire.Walk || f.Kind == wire.Walked: // which have their buffers back
		body = append(buffer(len(body)), body...)
		home = body
	default:
		body = slices.Clone(body)
	}
	m, err := codec.Decode(f.Kind, body)
	if err != nil {
		n.reject("malformed", "a message that cannot be decoded", "origin", string(f.Origin), "kind", f.Kind)
		return
	}
	if data := newLetter("", m).size; data > 0 {
		n.met.fullState.in(1, data)
	}
	switch m := m.(type) {
	case *core.Answer:
		n.answered(m)
	case *core.Walk:
		m.Home = home
	case *core.Walked:
		m.Home = home
	}
	n.said.heard(f.Origin, saying(m), nil, time.Now())
	n.engine.step(core.Received{From: string(f.Origin), Message: m, Size: len(whole)})
}
