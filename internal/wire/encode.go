package wire

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Encoder writes the frames of one node.
type Encoder struct {
	header []byte // version, cluster, origin
}

// NewEncoder returns the encoder of the node instance in cluster.
func NewEncoder(cluster, instance string) *Encoder {
	h := appendUint(nil, fieldVersion, Version)
	h = protowire.AppendTag(h, fieldCluster, protowire.Fixed32Type)
	h = protowire.AppendFixed32(h, ClusterHash(cluster))
	return &Encoder{header: appendString(h, fieldOrigin, instance)}
}

// UpdateSize is at least the size of what AppendUpdate appends.
func (e *Encoder) UpdateSize(key string, data int) int {
	return len(e.header) + len(key) + data + 48
}

// AppendUpdate appends an update to the batch b, which was begun by AppendBatch.
// It returns b and the offset at which the update begins as a frame of its own.
func (e *Encoder) AppendUpdate(b []byte, key string, data []byte, seq uint64, sent int64) ([]byte, int) {
	size := len(e.header) +
		protowire.SizeTag(fieldKey) + protowire.SizeBytes(len(key)) +
		protowire.SizeTag(fieldData) + protowire.SizeBytes(len(data)) +
		protowire.SizeTag(fieldSeq) + protowire.SizeVarint(seq) +
		protowire.SizeTag(fieldSent) + protowire.SizeFixed64()
	b = protowire.AppendTag(b, fieldUpdates, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	start := len(b)
	b = appendString(b, fieldKey, key)
	b = protowire.AppendTag(b, fieldData, protowire.BytesType)
	b = protowire.AppendBytes(b, data)
	b = append(b, e.header...)
	b = appendUint(b, fieldSeq, seq)
	b = protowire.AppendTag(b, fieldSent, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, uint64(sent)), start
}

// AppendBatch begins a batch.
func (e *Encoder) AppendBatch(b []byte) []byte { return e.begin(b, Batch) }

// Control is what a frame that is no update holds.
type Control struct {
	Name, Addr string // of the node, in a beat
	Meta       map[string]string
	Interval   uint64
	High       uint64
	Hello      bool

	To     string
	ID     uint64
	Items  []Item
	Vector []Mark
	Done   bool
}

// Control returns a frame of kind.
func (e *Encoder) Control(kind Kind, c Control) []byte {
	size := len(e.header) + len(c.Name) + len(c.Addr) + len(c.To) + 96
	for _, it := range c.Items {
		size += len(it.Key) + len(it.Data) + 40
	}
	for _, m := range c.Vector {
		size += len(m.Origin) + 24
	}
	b := e.begin(make([]byte, 0, size), kind)
	if c.Name != "" {
		b = protowire.AppendTag(b, fieldMember, protowire.BytesType)
		b = protowire.AppendBytes(b, encodeMember(c))
	}
	b = appendUint(b, fieldInterval, c.Interval)
	b = appendUint(b, fieldHigh, c.High)
	b = appendBool(b, fieldHello, c.Hello)
	if c.To != "" {
		b = appendString(b, fieldTo, c.To)
	}
	b = appendUint(b, fieldID, c.ID)
	for _, it := range c.Items {
		b = protowire.AppendTag(b, fieldItems, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(itemSize(it)))
		b = appendItem(b, it)
	}
	for _, m := range c.Vector {
		mark := appendUint(appendBytes(nil, 1, m.Origin), 2, m.Seq)
		b = protowire.AppendTag(b, fieldVector, protowire.BytesType)
		b = protowire.AppendBytes(b, mark)
	}
	return appendBool(b, fieldDone, c.Done)
}

// Chunks splits frame into frames of at most maxFrame bytes. The id tells this
// frame's chunks from another's. It calls send with each, in a buffer that it
// reuses, until send fails.
func (e *Encoder) Chunks(frame []byte, maxFrame int, to string, id uint64, send func([]byte) error) error {
	room := max(maxFrame-len(e.header)-len(to)-64, 1)
	count := (len(frame) + room - 1) / room
	buf := make([]byte, 0, maxFrame)
	for i := range count {
		piece := frame[i*room : min((i+1)*room, len(frame))]
		buf = e.begin(buf[:0], Chunk)
		if to != "" {
			buf = appendString(buf, fieldTo, to)
		}
		buf = appendUint(buf, fieldID, id)
		buf = appendUint(buf, fieldIndex, uint64(i))
		buf = appendUint(buf, fieldCount, uint64(count))
		buf = appendUint(buf, fieldTotal, uint64(len(frame)))
		buf = appendBytes(buf, fieldChunk, piece)
		if err := send(buf); err != nil {
			return err
		}
	}
	return nil
}

func (e *Encoder) begin(b []byte, kind Kind) []byte {
	b = append(b, e.header...)
	return appendUint(b, fieldKind, uint64(kind))
}

func encodeMember(c Control) []byte {
	b := appendString(nil, 1, c.Name)
	b = appendString(b, 2, c.Addr)
	for _, k := range slices.SortedFunc(maps.Keys(c.Meta), cmp.Compare[string]) {
		pair := appendString(appendString(nil, 1, k), 2, c.Meta[k])
		b = appendBytes(b, 3, pair)
	}
	return b
}

func itemSize(it Item) int {
	n := protowire.SizeTag(1) + protowire.SizeBytes(len(it.Key))
	if it.HasSum {
		n += protowire.SizeTag(2) + protowire.SizeFixed64()
	}
	if it.HasData {
		n += protowire.SizeTag(3) + protowire.SizeBytes(len(it.Data))
	}
	if it.Lacking {
		n += protowire.SizeTag(4) + 1
	}
	return n
}

func appendItem(b []byte, it Item) []byte {
	b = appendBytes(b, 1, it.Key)
	if it.HasSum {
		b = protowire.AppendTag(b, 2, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, it.Digest)
	}
	if it.HasData {
		b = appendBytes(b, 3, it.Data)
	}
	return appendBool(b, 4, it.Lacking)
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendUint(b, num, 1)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendString(b, s)
}

func appendBytes(b []byte, num protowire.Number, s []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, s)
}
