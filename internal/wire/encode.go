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
	h := field.AppendUint(nil, fieldVersion, Version)
	h = field.AppendUint(h, fieldNeeds, NumbersByKey)
	h = field.AppendFixed32(h, fieldCluster, ClusterHash(cluster))
	return &Encoder{header: field.AppendBytes(h, fieldOrigin, instance)}
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
	b := e.begin(make([]byte, 0, len(e.header)+48*len(to)+size+32), kind, to)
	return field.AppendMessage(b, fieldMessage, write)
}

// Chunks splits frame into frames of at most maxFrame bytes. The id tells this
// frame's chunks from another's. It calls send with each, in a buffer that it
// reuses, until send fails.
func (e *Encoder) Chunks(frame []byte, maxFrame int, to []string, id uint64, send func([]byte) error) error {
	overhead := len(e.header) + 64
	for _, instance := range to {
		overhead += len(instance) + 4
	}
	room := max(maxFrame-overhead, 1)
	count := (len(frame) + room - 1) / room
	buf := make([]byte, 0, maxFrame)
	for i := range count {
		piece := frame[i*room : min((i+1)*room, len(frame))]
		buf = e.begin(buf[:0], Chunk, to)
		buf = field.AppendUint(buf, fieldID, id)
		buf = field.AppendUint(buf, fieldIndex, uint64(i))
		buf = field.AppendUint(buf, fieldCount, uint64(count))
		buf = field.AppendUint(buf, fieldTotal, uint64(len(frame)))
		buf = field.AppendBytes(buf, fieldChunk, piece)
		if err := send(buf); err != nil {
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
