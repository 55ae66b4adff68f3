// Package wire is the encoding of frames: a protobuf superset of Alertmanager's
// clusterpb.Part and clusterpb.FullState, with field numbers of its own, so
// that an own update is an update to Alertmanagers too, and theirs to own
// nodes.
//
//	message Frame {
//	  string  key     = 1;    // clusterpb.Part.key
//	  bytes   data    = 2;    // clusterpb.Part.data
//	  uint64  version = 101;  // of this format; absent in Alertmanager's parts
//	  uint64  needs   = 102;  // feature bits without which a frame cannot be understood
//	  Kind    kind    = 103;
//	  fixed32 cluster = 104;  // hash of the cluster's name
//	  string  origin  = 105;  // instance of the node that made the frame
//	  uint64  seq     = 106;  // of an update, counted per origin from 1
//	  fixed64 sent    = 107;  // nanoseconds since 1970 on the origin's clock; for a metric only
//	  repeated Frame  updates = 110;  // of a batch
//	  Member  member  = 111;
//	  uint64  interval = 112; // milliseconds between beats
//	  uint64  high    = 113;  // the last seq that the origin sent
//	  bool    hello   = 114;  // asks every node for a beat
//	  string  to      = 115;  // the one instance that is meant; empty: all
//	  uint64  id      = 116;  // of a beat, a pull and its answer, a chunked frame
//	  repeated Item items  = 117;
//	  repeated Mark vector = 118;
//	  bool    done    = 119;  // the last answer to a pull
//	  uint64  index   = 121;  // of a chunk
//	  uint64  count   = 122;  // of the chunks
//	  uint64  total   = 123;  // bytes of the chunked frame
//	  bytes   chunk   = 124;
//	}
package wire

import (
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// Version is the version of the format that this package writes.
const Version = 1

// Kind is what a frame is for.
type Kind uint8

// The kinds of frames.
const (
	Update Kind = iota // one update of one state
	Batch              // several updates
	Beat               // the origin lives
	Bye                // the origin leaves
	Pull               // asks one member for what differs
	Push               // states, as an answer or unasked
	Chunk              // a piece of a larger frame
	kinds
)

// Frame is one decoded frame. Its slices alias the encoded bytes.
type Frame struct {
	Kind    Kind
	Version uint64
	Cluster uint32
	Origin  []byte
	Seq     uint64
	Sent    int64
	Key     []byte
	Data    []byte

	Updates [][]byte

	Member   Member
	Interval uint64
	High     uint64
	Hello    bool

	To     []byte
	ID     uint64
	Items  []Item
	Vector []Mark
	Done   bool

	Index, Count, Total uint64
	Chunk               []byte
}

// Member is the description of a member in a beat.
type Member struct {
	Name []byte
	Addr []byte
	Meta [][2][]byte
}

// Item is one state in a pull or a push.
type Item struct {
	Key     []byte
	Digest  uint64
	HasSum  bool // Digest is given
	Data    []byte
	HasData bool
	Lacking bool // the answering member has no such state
}

// Mark is how far an origin's updates have been taken in.
type Mark struct {
	Origin []byte
	Seq    uint64
}

const (
	fieldKey      protowire.Number = 1
	fieldData     protowire.Number = 2
	fieldVersion  protowire.Number = 101
	fieldNeeds    protowire.Number = 102
	fieldKind     protowire.Number = 103
	fieldCluster  protowire.Number = 104
	fieldOrigin   protowire.Number = 105
	fieldSeq      protowire.Number = 106
	fieldSent     protowire.Number = 107
	fieldUpdates  protowire.Number = 110
	fieldMember   protowire.Number = 111
	fieldInterval protowire.Number = 112
	fieldHigh     protowire.Number = 113
	fieldHello    protowire.Number = 114
	fieldTo       protowire.Number = 115
	fieldID       protowire.Number = 116
	fieldItems    protowire.Number = 117
	fieldVector   protowire.Number = 118
	fieldDone     protowire.Number = 119
	fieldIndex    protowire.Number = 121
	fieldCount    protowire.Number = 122
	fieldTotal    protowire.Number = 123
	fieldChunk    protowire.Number = 124
)

// maxRepeated bounds every list of a frame.
const maxRepeated = 1 << 17

// The errors of Decode.
var (
	ErrMalformed = errors.New("malformed frame")
	ErrVersion   = errors.New("frame needs a newer version")
)

// ClusterHash is the value of Frame.Cluster for a cluster's name.
func ClusterHash(name string) uint32 { return uint32(xxhash.Sum64String(name)) }

// Decode parses b into f, whose lists it reuses. Unknown fields are skipped.
// The error wraps ErrMalformed or ErrVersion.
func Decode(b []byte, f *Frame) error {
	*f = Frame{Updates: f.Updates[:0], Items: f.Items[:0], Vector: f.Vector[:0]}
	return fields(b, func(num protowire.Number, v value) error {
		switch num {
		case fieldKey:
			return v.bytes(&f.Key)
		case fieldData:
			return v.bytes(&f.Data)
		case fieldVersion:
			return v.uint(&f.Version)
		case fieldNeeds:
			if v.num != 0 {
				return ErrVersion
			}
		case fieldKind:
			if v.typ != protowire.VarintType {
				return ErrMalformed
			}
			if v.num >= uint64(kinds) {
				return fmt.Errorf("%w: kind %d", ErrVersion, v.num)
			}
			f.Kind = Kind(v.num)
		case fieldCluster:
			if v.typ != protowire.Fixed32Type {
				return ErrMalformed
			}
			f.Cluster = uint32(v.num)
		case fieldOrigin:
			return v.bytes(&f.Origin)
		case fieldSeq:
			return v.uint(&f.Seq)
		case fieldSent:
			if v.typ != protowire.Fixed64Type {
				return ErrMalformed
			}
			f.Sent = int64(v.num)
		case fieldUpdates:
			return appendTo(&f.Updates, v, func(b []byte) ([]byte, error) { return b, nil })
		case fieldMember:
			if v.typ != protowire.BytesType {
				return ErrMalformed
			}
			return decodeMember(v.b, &f.Member)
		case fieldInterval:
			return v.uint(&f.Interval)
		case fieldHigh:
			return v.uint(&f.High)
		case fieldHello:
			return v.bool(&f.Hello)
		case fieldTo:
			return v.bytes(&f.To)
		case fieldID:
			return v.uint(&f.ID)
		case fieldItems:
			return appendTo(&f.Items, v, decodeItem)
		case fieldVector:
			return appendTo(&f.Vector, v, decodeMark)
		case fieldDone:
			return v.bool(&f.Done)
		case fieldIndex:
			return v.uint(&f.Index)
		case fieldCount:
			return v.uint(&f.Count)
		case fieldTotal:
			return v.uint(&f.Total)
		case fieldChunk:
			return v.bytes(&f.Chunk)
		}
		return nil
	})
}

// Updates yields each update of frame, in order: the key of its state, and the
// update as a frame of its own that Alertmanager's peers understand too, a
// clusterpb.Part with further fields. It yields nothing when frame is of another
// kind, and leaves out what is damaged. The slices alias frame.
func Updates(frame []byte) iter.Seq2[string, []byte] {
	return func(yield func(key string, update []byte) bool) {
		var f, u Frame
		if Decode(frame, &f) != nil {
			return
		}
		switch f.Kind {
		case Update:
			yield(string(f.Key), frame)
		case Batch:
			for _, b := range f.Updates {
				if Decode(b, &u) == nil && u.Kind == Update && !yield(string(u.Key), b) {
					return
				}
			}
		}
	}
}

func decodeMember(b []byte, m *Member) error {
	*m = Member{}
	return fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			return v.bytes(&m.Name)
		case 2:
			return v.bytes(&m.Addr)
		case 3:
			return appendTo(&m.Meta, v, decodePair)
		}
		return nil
	})
}

func decodePair(b []byte) (kv [2][]byte, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		if num == 1 || num == 2 {
			return v.bytes(&kv[num-1])
		}
		return nil
	})
	return kv, err
}

func decodeItem(b []byte) (it Item, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			return v.bytes(&it.Key)
		case 2:
			if v.typ != protowire.Fixed64Type {
				return ErrMalformed
			}
			it.Digest, it.HasSum = v.num, true
		case 3:
			it.HasData = true
			return v.bytes(&it.Data)
		case 4:
			return v.bool(&it.Lacking)
		}
		return nil
	})
	return it, err
}

func decodeMark(b []byte) (m Mark, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		switch num {
		case 1:
			return v.bytes(&m.Origin)
		case 2:
			return v.uint(&m.Seq)
		}
		return nil
	})
	return m, err
}

// value is one field's value as it stands on the wire.
type value struct {
	typ protowire.Type
	num uint64
	b   []byte
}

func (v value) uint(p *uint64) error {
	if v.typ != protowire.VarintType {
		return ErrMalformed
	}
	*p = v.num
	return nil
}

func (v value) bool(p *bool) error {
	if v.typ != protowire.VarintType {
		return ErrMalformed
	}
	*p = v.num != 0
	return nil
}

func (v value) bytes(p *[]byte) error {
	if v.typ != protowire.BytesType {
		return ErrMalformed
	}
	*p = v.b
	return nil
}

func appendTo[T any](list *[]T, v value, decode func([]byte) (T, error)) error {
	if v.typ != protowire.BytesType || len(*list) >= maxRepeated {
		return ErrMalformed
	}
	t, err := decode(v.b)
	if err != nil {
		return err
	}
	*list = append(*list, t)
	return nil
}

// fields calls each with every field of b.
func fields(b []byte, each func(protowire.Number, value) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		v := value{typ: typ}
		switch typ {
		case protowire.VarintType:
			v.num, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var x uint32
			x, n = protowire.ConsumeFixed32(b)
			v.num = uint64(x)
		case protowire.Fixed64Type:
			v.num, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			v.b, n = protowire.ConsumeBytes(b)
			v.b = v.b[:len(v.b):len(v.b)]
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 || n > math.MaxInt32 {
			return ErrMalformed
		}
		b = b[n:]
		if err := each(num, v); err != nil {
			return err
		}
	}
	return nil
}
