package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

// Encoder writes the frames of one node. It may be used from many goroutines at
// once.
type Encoder struct {
	header []byte // version, needs, cluster, origin
}

// NewEncoder returns the encoder of the node instance in cluster.
func NewEncoder(cluster, instance string) *Encoder {
	return &Encoder{header: appendHeader(nil, Version, NumbersByKey, ClusterHash(cluster), instance)}
}

// appendHeader appends what each frame says of who made it.
func appendHeader[T []byte | string](b []byte, version, needs uint64, cluster uint32, origin T) []byte {
	b = field.AppendUint(b, fieldVersion, version)
	b = field.AppendUint(b, fieldNeeds, needs)
	b = field.AppendFixed32(b, fieldCluster, cluster)
	return field.AppendBytes(b, fieldOrigin, origin)
}

// An UpdateHead is what an update says besides its data.
type UpdateHead struct {
	Key         string
	Incarnation uint32
	Number      uint64
	Sent        int64 // nanoseconds since 1970; 0: it does not say
}

// UpdateSize is at least the size of what AppendUpdate appends.
func (e *Encoder) UpdateSize(key string, data int) int {
	return len(e.header) + len(key) + data + 56
}

// AppendUpdate appends an update to the batch b, which was begun by AppendBatch.
// It returns b and the offset at which the update begins as a frame of its own.
func (e *Encoder) AppendUpdate(b []byte, u UpdateHead, data []byte) ([]byte, int) {
	size := len(e.header) +
		protowire.SizeTag(fieldKey) + protowire.SizeBytes(len(u.Key)) +
		protowire.SizeTag(fieldData) + protowire.SizeBytes(len(data)) +
		protowire.SizeTag(fieldNumber) + protowire.SizeVarint(u.Number) +
		protowire.SizeTag(fieldSent) + protowire.SizeFixed64()
	if u.Incarnation != 0 {
		size += protowire.SizeTag(fieldIncarnation) + protowire.SizeVarint(uint64(u.Incarnation))
	}
	b = protowire.AppendTag(b, fieldUpdates, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	start := len(b)
	b = field.AppendBytes(b, fieldKey, u.Key)
	b = field.AppendBytes(b, fieldData, data)
	b = append(b, e.header...)
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldNumber, protowire.VarintType), u.Number)
	b = field.AppendFixed64(b, fieldSent, uint64(u.Sent))
	return field.AppendUint(b, fieldIncarnation, uint64(u.Incarnation)), start
}

// AppendBatch begins a batch.
func (e *Encoder) AppendBatch(b []byte) []byte { return e.begin(b, Batch, nil) }

// Message returns a frame of a kind that holds a message: what write appends, of
// about size bytes. Without receivers it is for all.
func (e *Encoder) Message(kind Kind, to []string, size int, write func([]byte) []byte) []byte {
	return e.Open(func(n int) []byte { return make([]byte, 0, n) }, kind, to, size, 0, write)
}

// Open is Message of a message that goes on for tail bytes after what write
// appends. They follow the frame and are not copied. The frame is in a buffer that
// room returns, for so many bytes, unless it turns out to be larger.
func (e *Encoder) Open(room func(int) []byte, kind Kind, to []string, size, tail int, write func([]byte) []byte) []byte {
	b := e.begin(room(len(e.header)+48*len(to)+size+32), kind, to)
	return field.AppendOpen(b, fieldMessage, tail, write)
}

// Chunks splits frame into frames of at most maxFrame bytes. The id tells this
// frame's chunks from another's. It calls send with each, in a buffer that it
// reuses, until send fails.
func (e *Encoder) Chunks(frame []byte, maxFrame int, to []string, id uint64, send func([]byte) error) error {
	return e.OpenChunks(make([]byte, 0, maxFrame), frame, nil, maxFrame, to, id, send)
}

// OpenChunks is Chunks of what Open has returned and its tail. The buffer that it reuses
// is buf.
func (e *Encoder) OpenChunks(buf, frame, tail []byte, maxFrame int, to []string, id uint64, send func([]byte) error) error {
	return e.chunks(len(frame)+len(tail), maxFrame, to, id, func(header []byte, at, end int) error {
		b := append(buf[:0], header...)
		if at < len(frame) {
			b = append(b, frame[at:min(end, len(frame))]...)
		}
		if end > len(frame) {
			b = append(b, tail[max(at-len(frame), 0):end-len(frame)]...)
		}
		return send(b)
	})
}

// Cut is Chunks of the frame that begins at b[from], without copying it: each
// chunk's header is written before its piece, where [Encoder.Headroom] bytes are
// free, or the piece before has left. The frame is spent.
func (e *Encoder) Cut(b []byte, from, maxFrame int, id uint64, send func([]byte) error) error {
	return e.chunks(len(b)-from, maxFrame, nil, id, func(header []byte, at, end int) error {
		at, end = from+at, from+end
		if at < len(header) {
			return send(append(header, b[at:end]...))
		}
		copy(b[at-len(header):], header)
		return send(b[at-len(header) : end])
	})
}

// Headroom is how long the header of a chunk for all may be.
func (e *Encoder) Headroom() int { return len(e.header) + 64 }

// chunks calls send with the header of each chunk of a frame of size bytes, and
// where its piece of it begins and ends.
func (e *Encoder) chunks(size, maxFrame int, to []string, id uint64, send func(header []byte, at, end int) error) error {
	overhead := e.Headroom()
	for _, instance := range to {
		overhead += len(instance) + 4
	}
	room := max(maxFrame-overhead, 1)
	count := (size + room - 1) / room
	header := make([]byte, 0, overhead)
	for i := range count {
		at, end := i*room, min((i+1)*room, size)
		header = e.begin(header[:0], Chunk, to)
		header = field.AppendUint(header, fieldID, id)
		header = field.AppendUint(header, fieldIndex, uint64(i))
		header = field.AppendUint(header, fieldCount, uint64(count))
		header = field.AppendUint(header, fieldTotal, uint64(size))
		header = field.AppendLength(header, fieldChunk, end-at)
		if err := send(header, at, end); err != nil {
			return err
		}
	}
	return nil
}

func (e *Encoder) begin(b []byte, kind Kind, to []string) []byte {
	b = append(b, e.header...)
	b = field.AppendUint(b, fieldKind, uint64(kind))
	for _, instance := range to {
		b = field.AppendBytes(b, fieldTo, instance)
	}
	return b
}
