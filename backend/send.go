package backend

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/codec"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	sendTimeout  = 10 * time.Second
	joinPatience = time.Second // for the driver to know a member that has just joined
	joinStep     = 10 * time.Millisecond
)

// send has a message of the core sent.
func (n *node) send(to string, message core.Message) {
	if bye, ok := message.(*core.Goodbye); ok { // the last frame, when all else has left
		n.bye = bye
		return
	}
	if p, ok := message.(*core.Pull); ok {
		n.asked(p)
	}
	l := newLetter(to, message)
	if l.size > wire.MaxFrame-wire.MaxFrame/64 {
		n.tooLarge(message)
		return
	}
	if !n.mail.post(l) {
		n.met.publishFailed("full_state", "buffer_overflow")
		n.log.warn("mail", "too many states wait to be sent; the next exchange repairs it", "to", to)
	}
}

// tooLarge says that a state cannot be exchanged.
func (n *node) tooLarge(message core.Message) {
	key, size := "", 0
	switch m := message.(type) {
	case *core.Push:
		key, size = m.Key, len(m.Data)
	case *core.Walk:
		key, size = m.Key, core.SizeOf(m.Entries)
	case *core.Walked:
		key, size = m.Key, core.SizeOf(m.Entries)
	case *core.Answer:
		for _, it := range m.Items {
			if len(it.Data) > size {
				key, size = it.Key, len(it.Data)
			}
		}
	}
	n.met.drop(key, "too_large")
	n.log.warn("large:"+key, "a state, or an entry of one, is too large to be exchanged; the others cannot catch up", "key", key, "bytes", size, "limit", wire.MaxFrame)
}

// resent is a frame of updates that are sent once more.
type resent struct {
	to     string
	frames [][]byte
}

// encodeAgain encodes updates that the core wants sent once more, in frames of
// about the size of a segment. It is called under the core's lock.
func (n *node) encodeAgain(r core.Resend) resent {
	out := resent{to: r.To}
	var b []byte
	first, count := 0, 0
	end := func() {
		if count == 1 {
			b = b[first:]
		}
		if count > 0 {
			out.frames = append(out.frames, b)
		}
		b, count = nil, 0
	}
	for _, u := range r.Updates {
		size := n.enc.UpdateSize(u.Key, len(u.Data))
		if count > 0 && len(b)+size > segmentBytes {
			end()
		}
		if b == nil {
			b = n.enc.AppendBatch(make([]byte, 0, size+128))
		}
		var start int
		b, start = n.enc.AppendUpdate(b, wire.UpdateHead{Key: u.Key, Incarnation: r.Incarnation, Number: u.Number}, u.Data)
		if count == 0 {
			first = start
		}
		count++
	}
	end()
	return out
}

// sendAgain has updates sent once more.
func (n *node) sendAgain(r resent) {
	for _, frame := range r.frames {
		l := letter{to: r.to, frame: frame, size: len(frame)}
		if r.to != "" {
			l.names = []string{r.to}
		}
		if !n.mail.post(l) {
			n.met.publishFailed("update", "buffer_overflow")
		}
	}
}

// pieceBytes is how large the chunks are that a state is sent in, where the transport
// has no smaller frames: each is copied on its way, the state is not.
const pieceBytes = 1 << 20

// transmit sends one frame, head and then tail, by the driver: to one member where
// that is given and the driver can, else to all. Larger frames go in chunks, which
// name whom they are for.
func (s *session) transmit(ctx context.Context, head, tail []byte, to string, names []string) error {
	send := s.drv.Broadcast
	if to != "" && s.caps.Send != nil {
		send = func(ctx context.Context, frame []byte) error { return s.caps.Send(ctx, Member{Instance: to}, frame) }
	}
	one := func(frame []byte) error {
		return s.bounded(ctx, func(ctx context.Context) error { return send(ctx, frame) })
	}
	size, most := len(head)+len(tail), s.caps.MaxFrame
	if len(tail) > 0 && (most <= 0 || most > pieceBytes) {
		most = pieceBytes
	}
	if most <= 0 || size <= most {
		return one(append(head, tail...))
	}
	if len(names) > 4 { // each chunk would repeat them
		names = nil
	}
	buf := buffer(most)
	defer spent(buf)
	return s.node.enc.OpenChunks(buf, head, tail, most, names, rand.Uint64(), s.chunk(ctx, one))
}

// chunk sends a chunk by send, after the small messages that wait: a heartbeat
// must not wait for megabytes.
func (s *session) chunk(ctx context.Context, send func([]byte) error) func([]byte) error {
	return func(b []byte) error {
		s.sendControl(ctx)
		return send(b)
	}
}

// bounded calls a function of the driver, which has sendTimeout and ends with the
// session.
func (s *session) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return contain(func() error { return f(ctx) })
}

// transmitUpdates sends a segment to all, and each of its updates by itself to
// peers that are not ours. A large segment is spent.
func (s *session) transmitUpdates(ctx context.Context, seg *segment) error {
	heard, frame := false, seg.frame()
	var err error
	if s.caps.Updates != nil {
		err = s.bounded(ctx, func(ctx context.Context) (err error) {
			heard, err = s.caps.Updates(ctx, wire.Updates(frame))
			return err
		})
	}
	if heard {
		return err
	}
	one := func(frame []byte) error {
		return s.bounded(ctx, func(ctx context.Context) error { return s.drv.Broadcast(ctx, frame) })
	}
	if s.caps.MaxFrame <= 0 || len(frame) <= s.caps.MaxFrame {
		return errors.Join(err, one(frame))
	}
	return errors.Join(err, s.node.enc.Cut(seg.buf, seg.start(), s.caps.MaxFrame, rand.Uint64(), s.chunk(ctx, one)))
}

// sendControl sends the small messages for all that wait.
func (s *session) sendControl(ctx context.Context) {
	for {
		l, ok := s.node.mail.nextControl()
		if !ok {
			return
		}
		s.deliver(ctx, l)
	}
}

// deliver sends a message. A member that the transport does not know may have
// just joined: what it asked for is tried again for a moment.
func (s *session) deliver(ctx context.Context, l letter) {
	n := s.node
	head, tail := l.encoded(n.enc)
	err := s.transmit(ctx, head, tail, l.to, l.names)
	if l.frame == nil {
		spent(head)
	}
	switch {
	case err == nil:
		n.delivered(l)
		return
	case ctx.Err() != nil:
		return
	case l.to != "" && errors.Is(err, ErrUnavailable) && l.isAnswer():
		if l.until.IsZero() {
			l.until = time.Now().Add(joinPatience)
		}
		if time.Now().Before(l.until) {
			n.mail.again(l)
			return
		}
	}
	if l.size > 0 {
		n.met.publishFailed("full_state", "transport_error")
	}
	if errors.Is(err, ErrUnavailable) && l.to != "" {
		n.log.Debug("a member could not be reached", "instance", l.to, "err", err)
	} else {
		n.log.warn("send", "a message could not be sent", "err", err)
	}
	if l.to != "" {
		n.engine.step(core.Unsent{To: l.to})
	}
}

func (l *letter) isAnswer() bool {
	_, answer := l.message.(*core.Answer)
	return answer || l.frame != nil
}

// delivered counts what was sent.
func (n *node) delivered(l letter) {
	switch m := l.message.(type) {
	case *core.Answer:
		for _, it := range m.Items {
			if it.Outcome == core.Data {
				n.met.fullState.out(len(it.Data))
			}
		}
	case *core.Push:
		n.met.fullState.out(len(m.Data))
	}
}

// sendLoop hands what is for all, but data, to the driver, one frame at a time: what
// queues up meanwhile leaves as one frame.
func (n *node) sendLoop() {
	for n.work.Err() == nil {
		s, changed := n.link.current()
		if s == nil || !s.attached.Load() {
			n.mail.drop()
			select {
			case <-changed:
			case <-n.work.Done():
			}
			continue
		}
		s.sendControl(n.work)
		if seg := n.out.next(); seg != nil {
			n.sendUpdates(s, seg)
			continue
		}
		select {
		case <-n.out.wake:
		case <-n.mail.controlWake:
		case <-changed:
		case <-n.work.Done():
		}
	}
}

func (n *node) sendUpdates(s *session, seg *segment) {
	if err := s.transmitUpdates(n.work, seg); err != nil {
		n.met.publishFailures.WithLabelValues("update", "transport_error").Add(float64(seg.n))
		if n.work.Err() == nil {
			n.log.warn("send", "updates could not be sent; the others ask for them", "updates", seg.n, "err", err)
		}
	} else {
		n.met.update.sent.Add(float64(seg.n))
		n.met.update.sentBytes.Add(float64(len(seg.frame())))
	}
	n.engine.sent(seg.marks)
	for key, number := range n.out.done(seg) {
		n.engine.sent([]sentMark{{key, number}})
	}
}

// sent tells the core which numbers the others can know of.
func (e *engine) sent(marks []sentMark) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, wake := e.now(), false
	for _, m := range marks {
		wake = e.core.Sent(now, m.key, m.number) || wake
	}
	if wake {
		e.collect()
	}
}

// laneLoop hands small messages for one member to the driver, to several members side
// by side: one that cannot be reached delays nobody else.
func (n *node) laneLoop() {
	var lanes sync.WaitGroup
	defer lanes.Wait()
	for n.work.Err() == nil {
		if to, ok := n.mail.nextLane(); ok {
			lanes.Go(func() { n.sendLane(to) })
			continue
		}
		select {
		case <-n.mail.laneWake:
		case <-n.work.Done():
		}
	}
}

// sendLane sends the small messages for one member, in order; without a link they are
// dropped.
func (n *node) sendLane(to string) {
	for {
		l, ok := n.mail.nextTo(to)
		if !ok {
			return
		}
		if s, _ := n.link.current(); s != nil && s.attached.Load() {
			s.deliver(n.work, l)
		}
	}
}

// bulkLoop hands messages with data to the driver, to several members side by side.
func (n *node) bulkLoop() {
	var sending sync.WaitGroup
	defer sending.Wait()
	for n.work.Err() == nil {
		s, changed := n.link.current()
		var l *letter
		if s != nil && s.attached.Load() {
			l = n.mail.nextBulk(s.caps.Send != nil)
		}
		if l == nil {
			select {
			case <-n.mail.bulkWake:
			case <-changed:
			case <-n.work.Done():
			}
			continue
		}
		sending.Go(func() {
			defer n.mail.doneBulk(l)
			if !l.until.IsZero() {
				n.pause(joinStep)
			}
			s.deliver(n.work, *l)
		})
	}
}

// goodbye tells the others, as the last frame, that this node leaves.
func (n *node) goodbye(ctx context.Context) {
	s, _ := n.link.current()
	if s == nil || !s.attached.Load() || n.bye == nil {
		return
	}
	if err := s.transmit(ctx, codec.Encode(n.enc, n.bye), nil, "", nil); err != nil {
		n.log.Debug("the goodbye could not be sent", "err", err)
	}
}
