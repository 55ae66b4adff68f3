package backend

import (
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// segmentBytes is how large a frame grows while updates queue up.
const segmentBytes = 256 << 10

// controlFrames bounds the control frames that wait to be sent.
const controlFrames = 64

// outbox holds what waits to be sent. Updates are encoded once, straight into
// the frame that carries them: what queues up leaves as one frame.
type outbox struct {
	enc      *wire.Encoder
	maxItems int
	maxBytes int

	mu       sync.Mutex
	closed   bool
	control  [][]byte
	segments []*segment
	free     []*segment
	items    int
	bytes    int
	seq      uint64 // of the last update taken in, or dropped
	sent     uint64 // of the last update handed to the driver, or dropped before it
	target   int

	wake chan struct{}
}

// segment is a frame under construction.
type segment struct {
	buf   []byte
	first int // where the first update begins as a frame of its own
	n     int
	size  int // as counted against the outbox's bound
	last  uint64
}

// frame returns the encoded frame: a lone update needs no batch around it.
func (s *segment) frame() []byte {
	if s.n == 1 {
		return s.buf[s.first:]
	}
	return s.buf
}

func newOutbox(enc *wire.Encoder, maxItems, maxBytes int) *outbox {
	return &outbox{enc: enc, maxItems: maxItems, maxBytes: maxBytes, target: segmentBytes, wake: make(chan struct{}, 1)}
}

// update queues one update. A dropped one uses up its sequence number, so that
// the others see the gap.
func (o *outbox) update(key string, data []byte) error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return ErrClosed
	}
	o.seq++
	size := o.enc.UpdateSize(key, len(data))
	if o.items >= o.maxItems || o.bytes+size > o.maxBytes && o.items > 0 {
		o.mu.Unlock()
		return ErrQueueFull
	}
	var s *segment
	if n := len(o.segments); n > 0 && len(o.segments[n-1].buf)+size <= o.target {
		s = o.segments[n-1]
	} else {
		s = o.segment(size)
		o.segments = append(o.segments, s)
	}
	var start int
	s.buf, start = o.enc.AppendUpdate(s.buf, key, data, o.seq, time.Now().UnixNano())
	if s.n == 0 {
		s.first = start
	}
	s.n++
	s.size += size
	s.last = o.seq
	o.items++
	o.bytes += size
	o.mu.Unlock()
	o.signal()
	return nil
}

func (o *outbox) segment(size int) *segment {
	if n := len(o.free); n > 0 && size < segmentBytes {
		s := o.free[n-1]
		o.free = o.free[:n-1]
		return s
	}
	if size >= segmentBytes {
		return &segment{buf: o.enc.AppendBatch(arenas.get(size + 128))}
	}
	return &segment{buf: o.enc.AppendBatch(make([]byte, 0, max(size+128, 4096)))}
}

// nextControl takes the next control frame, or nil.
func (o *outbox) nextControl() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.control) == 0 {
		return nil
	}
	frame := o.control[0]
	o.control = o.control[1:]
	return frame
}

// next takes the next updates, or nil. The segment goes back by done.
func (o *outbox) next() *segment {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.segments) == 0 {
		return nil
	}
	seg := o.segments[0]
	o.segments = o.segments[1:]
	if len(o.segments) == 0 {
		o.segments = nil
	}
	return seg
}

// done recycles a segment whose frame has left, or failed to.
func (o *outbox) done(s *segment) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items -= s.n
	o.bytes -= s.size
	o.sent = max(o.sent, s.last)
	if o.items == 0 { // dropped ones are behind us too
		o.sent = o.seq
	}
	if cap(s.buf) <= 2*segmentBytes && len(o.free) < 4 {
		*s = segment{buf: o.enc.AppendBatch(s.buf[:0])}
		o.free = append(o.free, s)
		return
	}
	arenas.put(s.buf)
	s.buf = nil
}

// post queues a control frame. The oldest gives way: a later beat says more.
func (o *outbox) post(frame []byte) {
	o.mu.Lock()
	if len(o.control) >= controlFrames {
		o.control = o.control[1:]
	}
	o.control = append(o.control, frame)
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) dropControl() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.control = nil
}

// high returns the last sequence number that the others can know of.
func (o *outbox) high() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}

// assigned returns the last sequence number given out.
func (o *outbox) assigned() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seq
}

func (o *outbox) queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.items
}

// limit keeps segments within one frame of the driver's.
func (o *outbox) limit(maxFrame int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.target = segmentBytes
	if maxFrame > 0 {
		o.target = min(o.target, maxFrame)
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
