package backend

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	inboxFrames   = 4096
	inboxBytes    = 64 << 20
	maxFrameBytes = 256 << 20
)

// rejectReasons are the values of the label reason of
// clusterchannel_frames_rejected_total.
var rejectReasons = []string{"malformed", "version", "cluster", "chunk", "overflow"}

var frames = sync.Pool{New: func() any { return new(wire.Frame) }}

// Frame implements driver.Handler.
func (s *session) Frame(b []byte) {
	if !s.over.Load() {
		s.node.receive(s, b, 0)
	}
}

// receive takes in one frame: updates go to their states, control frames to the
// control loop. At depth 0 b is the driver's again afterwards.
func (n *node) receive(s *session, b []byte, depth int) {
	f := frames.Get().(*wire.Frame)
	defer frames.Put(f)
	if err := wire.Decode(b, f); err != nil {
		if errors.Is(err, wire.ErrVersion) {
			n.reject("version", "a frame needs a newer version of this program", "err", err)
		} else {
			n.reject("malformed", "a frame that is none of ours; something else uses our address, channel or subject", "bytes", len(b))
		}
		return
	}
	if f.Version == 0 || len(f.Origin) == 0 {
		n.receiveForeign(s, f, len(b))
		return
	}
	if f.Cluster != n.cluster {
		n.reject("cluster", "cluster label mismatch: a frame of another cluster", "origin", string(f.Origin))
		return
	}
	if string(f.Origin) == n.self.Instance {
		if f.Kind == wire.Beat {
			n.inbox.echo(f.ID)
		}
		return
	}
	switch f.Kind {
	case wire.Update:
		n.receiveUpdate(f, len(b), time.Now())
	case wire.Batch:
		n.receiveBatch(f)
	case wire.Chunk:
		n.receiveChunk(s, f, depth)
	default:
		if len(f.To) > 0 && string(f.To) != n.self.Instance {
			return
		}
		if depth == 0 { // else b was put together here, and is nobody else's
			b = slices.Clone(b)
		}
		if !n.inbox.frame(b) {
			n.reject("overflow", "control frames arrive faster than they are handled")
		}
	}
}

// Reject implements driver.Handler.
func (s *session) Reject(why driver.Reason, err error) {
	if s.over.Load() {
		return
	}
	if !slices.Contains(rejectReasons, string(why)) {
		why = driver.Malformed
	}
	s.node.reject(string(why), "the transport brought something that is no frame", "err", err)
}

func (n *node) reject(reason, msg string, args ...any) {
	n.met.rejected.WithLabelValues(reason).Inc()
	n.log.warn("reject:"+reason, msg, args...)
}

// receiveForeign takes in an update of a peer that is not ours, where the
// transport has such peers: it has no sequence number.
func (n *node) receiveForeign(s *session, f *wire.Frame, size int) {
	if !s.caps.Exchange || f.Version != 0 || f.Kind != wire.Update || len(f.Key) == 0 {
		n.reject("malformed", "a frame that is none of ours; something else uses our address, channel or subject", "bytes", size)
		return
	}
	n.met.update.in(size)
	if st := (*n.states.Load())[string(f.Key)]; st != nil && !st.enqueue(f.Data, 0) {
		n.met.drop(st.key, "inbound_overflow")
	}
}

func (n *node) receiveBatch(f *wire.Frame) {
	u := frames.Get().(*wire.Frame)
	defer frames.Put(u)
	now := time.Now()
	for _, b := range f.Updates {
		if wire.Decode(b, u) != nil || u.Kind != wire.Update || string(u.Origin) != string(f.Origin) || u.Cluster != n.cluster {
			n.reject("malformed", "a batch holds something that is no update of its origin", "origin", string(f.Origin))
			return
		}
		n.receiveUpdate(u, len(b), now)
	}
}

// receiveUpdate queues an update for its state unless it arrived before. What
// there is no room for is not marked as taken in, so that the gap is repaired.
func (n *node) receiveUpdate(f *wire.Frame, size int, now time.Time) {
	n.met.update.in(size)
	if f.Seq == 0 {
		n.reject("malformed", "an update without a sequence number", "origin", string(f.Origin))
		return
	}
	n.origins.mu.Lock()
	o := n.origins.get(f.Origin, now)
	o.heard = true
	o.says("update", f.Key, now)
	if !o.fresh(f.Seq) {
		n.origins.mu.Unlock()
		n.met.duplicates.Inc()
		return
	}
	st := (*n.states.Load())[string(f.Key)]
	if st != nil && !st.enqueue(f.Data, f.Sent) {
		o.raise(f.Seq)
		o.settle(now)
		n.origins.mu.Unlock()
		n.met.drop(st.key, "inbound_overflow")
		n.inbox.gap()
		return
	}
	o.take(f.Seq, now)
	gap := !o.gapSince.IsZero()
	n.origins.mu.Unlock()
	if gap {
		n.inbox.gap()
	}
}

func (n *node) receiveChunk(s *session, f *wire.Frame, depth int) {
	if len(f.To) > 0 && string(f.To) != n.self.Instance {
		return
	}
	whole, ok := n.assembly.add(f, time.Now())
	if !ok || depth > 0 {
		n.reject("chunk", "a piece of a larger frame that cannot be taken in", "origin", string(f.Origin))
		return
	}
	n.pulls.progress(string(f.Origin))
	if whole != nil {
		n.receive(s, whole, depth+1)
	}
}

// Link implements driver.Handler.
func (s *session) Link(err error) {
	if s.over.Load() {
		return
	}
	s.attached.Store(err == nil)
	s.node.inbox.link(s, err)
	s.node.link.notify()
}

// Members implements driver.Handler.
func (s *session) Members(all []Member) {
	if !s.over.Load() {
		s.node.inbox.members(slices.Clone(all))
	}
}

// Left implements driver.Handler.
func (s *session) Left(m Member) {
	if !s.over.Load() {
		s.node.inbox.left(m)
	}
}

// Probe implements driver.Handler.
func (s *session) Probe(peer string, rtt time.Duration, err error) {
	if s.over.Load() {
		return
	}
	if err != nil {
		s.node.met.pingFailures.Inc()
		return
	}
	n := s.node
	n.changeMu.Lock() // update deletes the series of who is gone under it
	defer n.changeMu.Unlock()
	if slices.ContainsFunc(n.view.Load().Members, func(m Member) bool { return m.Name == peer }) {
		n.met.pings.WithLabelValues(label(peer)).Observe(rtt.Seconds())
	}
}

// LocalState implements driver.Handler.
func (s *session) LocalState() []byte {
	if s.over.Load() {
		return nil
	}
	n := s.node
	var b []byte
	for key, st := range *n.states.Load() {
		if data, err := st.marshal(); err == nil {
			b = wire.AppendPart(b, key, data)
		}
	}
	n.met.fullState.out(len(b))
	return b
}

// MergeState implements driver.Handler.
func (s *session) MergeState(b []byte) {
	if s.over.Load() {
		return
	}
	n := s.node
	n.met.fullState.in(len(b))
	parts, err := wire.DecodeParts(b)
	if err != nil {
		n.reject("malformed", "a full state that cannot be decoded", "bytes", len(b))
		return
	}
	var left atomic.Int64 // merges to come, and this loop
	left.Store(1)
	done := func() {
		if left.Add(-1) == 0 {
			n.inbox.nativeExchange()
		}
	}
	for _, p := range parts {
		if st := (*n.states.Load())[string(p.Key)]; st != nil {
			data := slices.Clone(p.Data)
			left.Add(1)
			if !st.doOr(len(data), func() { st.merge(data); done() }, done) {
				n.met.drop(st.key, "inbound_overflow")
				done()
			}
		}
	}
	done()
}

// inbox is what the control loop has to look at. What matters is kept as the
// latest value; frames are bounded.
type inbox struct {
	mu   sync.Mutex
	ev   events
	wake chan struct{}
}

// events are what has happened since the control loop last looked.
type events struct {
	frames    [][]byte
	bytes     int // of frames
	echoes    []uint64
	links     []linkEvent
	members   []Member
	hasList   bool
	left      []departure
	gap       bool
	sent      bool
	native    bool
	exchanged bool
}

// departure is a member of which the driver says that it left. Lists that come
// after it tell whether it was gone, and whether it is back since.
type departure struct {
	Member
	gone, back bool
}

type linkEvent struct {
	session *session // nil: it could not even be opened
	err     error
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (i *inbox) put(set func(*events)) {
	i.mu.Lock()
	set(&i.ev)
	i.mu.Unlock()
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

func (i *inbox) take() events {
	i.mu.Lock()
	defer i.mu.Unlock()
	ev := i.ev
	i.ev = events{}
	return ev
}

func (i *inbox) frame(b []byte) bool {
	ok := true
	i.put(func(e *events) {
		ok = len(e.frames) == 0 || len(e.frames) < inboxFrames && e.bytes+len(b) <= inboxBytes
		if ok {
			e.frames = append(e.frames, b)
			e.bytes += len(b)
		}
	})
	return ok
}

func (i *inbox) echo(id uint64) {
	i.put(func(e *events) {
		if len(e.echoes) < inboxFrames {
			e.echoes = append(e.echoes, id)
		}
	})
}

func (i *inbox) link(s *session, err error) {
	i.put(func(e *events) {
		if len(e.links) >= 16 { // the latest counts; an earlier loss must still be seen
			e.links = append(e.links[:8], e.links[len(e.links)-4:]...)
		}
		e.links = append(e.links, linkEvent{s, err})
	})
}

func (i *inbox) members(all []Member) {
	i.put(func(e *events) {
		e.members, e.hasList = all, true
		for k := range e.left {
			d := &e.left[k]
			listed := slices.ContainsFunc(all, func(m Member) bool { return listID(m) == listID(d.Member) })
			d.back = d.gone && listed
			d.gone = d.gone || !listed
		}
	})
}

func (i *inbox) left(m Member) {
	i.put(func(e *events) {
		if len(e.left) < inboxFrames {
			e.left = append(e.left, departure{Member: m})
		}
	})
}

func (i *inbox) gap()            { i.put(func(e *events) { e.gap = true }) }
func (i *inbox) sentUpdates()    { i.put(func(e *events) { e.sent = true }) }
func (i *inbox) nativeExchange() { i.put(func(e *events) { e.native = true }) }
func (i *inbox) exchangeDone()   { i.put(func(e *events) { e.exchanged = true }) }

var _ driver.Handler = (*session)(nil)
