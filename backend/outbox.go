package backend

import (
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// segmentBytes is how large a frame grows while updates queue up.
const segmentBytes = 256 << 10

// outbox holds the updates that wait to be sent. They are encoded once, straight
// into the frame that carries them: what queues up leaves as one frame.
type outbox struct {
	enc      *wire.Encoder
	assign   func(key string, data []byte) (incarnation uint32, number uint64)
	maxItems int
	maxBytes int
	wake     chan struct{}

	mu       sync.Mutex
	closed   bool
	segments []*segment
	free     []*segment
	items    int
	bytes    int
	target   int
	dropped  map[string]uint64 // the last number of each key that there was no room for
}

// segment is a frame under construction.
type segment struct {
	buf   []byte
	base  int // where the frame begins: there is room before a large one
	first int // where the first update begins as a frame of its own
	n     int
	size  int // as counted against the outbox's bound
	marks []sentMark
}

// sentMark says up to which number the updates of a key are sent.
type sentMark struct {
	key    string
	number uint64
}

// start is where the encoded frame begins: a lone update needs no batch around it.
func (s *segment) start() int {
	if s.n == 1 {
		return s.first
	}
	return s.base
}

func (s *segment) frame() []byte { return s.buf[s.start():] }

func newOutbox(enc *wire.Encoder, maxItems, maxBytes int, assign func(string, []byte) (uint32, uint64)) *outbox {
	return &outbox{enc: enc, assign: assign, maxItems: maxItems, maxBytes: maxBytes, target: segmentBytes, dropped: map[string]uint64{}, wake: make(chan struct{}, 1)}
}

// update queues one update. A dropped one has a number too, so that the others
// see that they miss it.
func (o *outbox) update(key string, data []byte) error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return ErrClosed
	}
	incarnation, number := o.assign(key, data)
	if number == 0 { // the state is being removed
		o.mu.Unlock()
		return ErrClosed
	}
	size := o.enc.UpdateSize(key, len(data))
	if o.items >= o.maxItems || o.bytes+size > o.maxBytes && o.items > 0 {
		o.dropped[key] = number
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
	s.buf, start = o.enc.AppendUpdate(s.buf, wire.UpdateHead{Key: key, Incarnation: incarnation, Number: number, Sent: time.Now().UnixNano()}, data)
	if s.n == 0 {
		s.first = start
	}
	s.n++
	s.size += size
	s.marks = mark(s.marks, key, number)
	o.items++
	o.bytes += size
	o.mu.Unlock()
	signal(o.wake)
	return nil
}

// mark notes the number of a key. One of the same key before it says less.
func mark(marks []sentMark, key string, number uint64) []sentMark {
	if n := len(marks); n > 0 && marks[n-1].key == key {
		marks[n-1].number = number
		return marks
	}
	return append(marks, sentMark{key, number})
}

func (o *outbox) segment(size int) *segment {
	if n := len(o.free); n > 0 && size < segmentBytes {
		s := o.free[n-1]
		o.free = o.free[:n-1]
		return s
	}
	if size >= segmentBytes {
		room := o.enc.Headroom()
		return &segment{base: room, buf: o.enc.AppendBatch(arenas.get(size + 128 + room)[:room])}
	}
	room := max(size+128, 4096)
	if len(o.segments) > 0 { // a burst, which fills this one too
		return &segment{buf: o.enc.AppendBatch(arenas.get(max(room, o.target)))}
	}
	return &segment{buf: o.enc.AppendBatch(make([]byte, 0, room))}
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

// done recycles a segment whose frame has left, or failed to. It returns what
// was dropped and has nothing before it in the queue any more.
func (o *outbox) done(s *segment) (dropped map[string]uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items -= s.n
	o.bytes -= s.size
	if o.items == 0 && len(o.dropped) > 0 {
		dropped, o.dropped = o.dropped, map[string]uint64{}
	}
	if cap(s.buf) <= 2*segmentBytes && len(o.free) < 4 {
		*s = segment{buf: o.enc.AppendBatch(s.buf[:0]), marks: s.marks[:0]}
		o.free = append(o.free, s)
		return dropped
	}
	arenas.put(s.buf)
	s.buf = nil
	return dropped
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

// signal wakes who waits on a channel with room for one.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
