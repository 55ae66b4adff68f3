// Package wire is the encoding of frames: a protobuf superset of Alertmanager's
// clusterpb.Part and clusterpb.FullState, with field numbers of its own, so
// that an own update is an update to Alertmanagers too, and theirs to own
// nodes.
//
//	message Frame {
//	  string  key     = 1;    // clusterpb.Part.key
//	  bytes   data    = 2;    // clusterpb.Part.data
//	  uint64  version = 101;  // of this format; absent in Alertmanager's parts
//	  uint64  needs   = 102;  // feature bits without which the frame cannot be understood
//	  Kind    kind    = 103;
//	  fixed32 cluster = 104;  // hash of the cluster's name
//	  string  origin  = 105;  // instance of the node that made the frame
//	  uint64  number  = 106;  // of an update, counted from 1 by origin, incarnation and key
//	  fixed64 sent    = 107;  // nanoseconds since 1970 on the origin's clock; for a metric only
//	  uint32  incarnation = 108;  // of the origin, for number
//	  repeated Frame  updates = 110;  // of a batch
//	  repeated string to      = 115;  // the instances that are meant; none: all
//	  uint64  id      = 116;  // of a chunked frame
//	  bytes   message = 120;  // of the frames of a kind from Heartbeat on; package codec reads it
//	  uint64  index   = 121;  // of a chunk
//	  uint64  count   = 122;  // of the chunks
//	  uint64  total   = 123;  // bytes of the chunked frame
//	  bytes   chunk   = 124;
//	}
//
// # Versions
//
// Fields are only added, and a field that is not known is skipped. A frame that
// cannot be understood without one names a feature in needs; who does not know
// that feature leaves the frame out, and counts it. Version 1 is of before the
// first release: it numbers updates by origin alone, and is not understood.
package wire

import (
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

// Version is the version of the format that this package writes.
const Version = 2

// The features that a frame may need.
const (
	NumbersByKey = 1 << iota // updates are numbered by origin, incarnation and key

	known = NumbersByKey
)

// MaxFrame is the largest frame in bytes, before it is split into chunks.
const MaxFrame = 256 << 20

// Kind is what a frame is for.
type Kind uint8

// The kinds of frames. Those that are not named were used by version 1.
const (
	Update    Kind = 0  // one update of one state
	Batch     Kind = 1  // several updates
	Chunk     Kind = 6  // a piece of a larger frame
	Heartbeat Kind = 16 // this kind and those that follow hold a message
	Goodbye   Kind = 17
	Void      Kind = 18
	List      Kind = 19
	ListAsked Kind = 20
	Missing   Kind = 21
	Kept      Kind = 22
	Pull      Kind = 23
	Answer    Kind = 24
	Push      Kind = 25
	Walk      Kind = 26
	Walked    Kind = 27
)

const (
	oldBeat = 2 // the heartbeat of version 1
	maxKind = Walked
)

// IsMessage reports whether frames of the kind hold a message.
func (k Kind) IsMessage() bool { return k >= Heartbeat && k <= maxKind }

// Frame is one decoded frame. Its slices alias the encoded bytes.
type Frame struct {
	Kind        Kind
	Version     uint64
	Needs       uint64
	Cluster     uint32
	Origin      []byte
	Incarnation uint32
	Number      uint64
	Sent        uint64
	Key         []byte
	Data        []byte

	Updates [][]byte
	To      [][]byte
	Message []byte

	ID, Index, Count, Total uint64
	Chunk                   []byte

	kind uint64 // as it stands there
	name []byte // of the node, in a heartbeat of version 1
	head []byte // of a batch: the header that its updates have too; made when it is needed
}

const (
	fieldKey         field.Number = 1
	fieldData        field.Number = 2
	fieldVersion     field.Number = 101
	fieldNeeds       field.Number = 102
	fieldKind        field.Number = 103
	fieldCluster     field.Number = 104
	fieldOrigin      field.Number = 105
	fieldNumber      field.Number = 106
	fieldSent        field.Number = 107
	fieldIncarnation field.Number = 108
	fieldUpdates     field.Number = 110
	fieldOldMember   field.Number = 111
	fieldTo          field.Number = 115
	fieldID          field.Number = 116
	fieldMessage     field.Number = 120
	fieldIndex       field.Number = 121
	fieldCount       field.Number = 122
	fieldTotal       field.Number = 123
	fieldChunk       field.Number = 124
)

const (
	maxUpdates = 1 << 17 // in a batch
	maxTo      = 256     // instances that one frame names
)

// ErrMalformed says that a frame is foreign or damaged.
var ErrMalformed = field.ErrMalformed

// ErrVersion says that a frame is of another version, or needs a feature that is
// not known here.
var ErrVersion = errors.New("a frame of another version")

// ClusterHash is the value of Frame.Cluster for a cluster's name.
func ClusterHash(name string) uint32 { return uint32(xxhash.Sum64String(name)) }

// Decode parses b into f, whose lists it reuses. Unknown fields are skipped. The
// error wraps ErrMalformed or ErrVersion; with ErrVersion, f says as much of the
// frame as can be told: its Version, Cluster and Origin.
func Decode(b []byte, f *Frame) error {
	*f = Frame{Updates: f.Updates[:0], To: f.To[:0], head: f.head[:0]}
	if err := field.Each(b, f.take); err != nil {
		return err
	}
	switch {
	case f.Version == 0: // a part of Alertmanager's
		return nil
	case f.Version < Version:
		return fmt.Errorf("%w: %d, which is older than %d", ErrVersion, f.Version, Version)
	case f.Needs&^known != 0:
		return fmt.Errorf("%w: %d, which needs features %#x", ErrVersion, f.Version, f.Needs&^known)
	case f.kind > uint64(maxKind):
		return fmt.Errorf("%w: %d, of kind %d", ErrVersion, f.Version, f.kind)
	}
	f.Kind = Kind(f.kind)
	return nil
}

// take reads one field.
func (f *Frame) take(num field.Number, v field.Value) error {
	switch num {
	case fieldKey:
		return v.Bytes(&f.Key)
	case fieldData:
		return v.Bytes(&f.Data)
	case fieldVersion:
		return v.Uint(&f.Version, math.MaxUint64)
	case fieldNeeds:
		return v.Uint(&f.Needs, math.MaxUint64)
	case fieldKind:
		return v.Uint(&f.kind, math.MaxUint64)
	case fieldCluster:
		return v.Fixed32(&f.Cluster)
	case fieldOrigin:
		return v.Bytes(&f.Origin)
	case fieldNumber:
		return v.Uint(&f.Number, math.MaxUint64)
	case fieldSent:
		return v.Fixed64(&f.Sent)
	case fieldIncarnation:
		return v.Uint32(&f.Incarnation)
	case fieldUpdates:
		return appendTo(&f.Updates, v, maxUpdates)
	case fieldTo:
		return appendTo(&f.To, v, maxTo)
	case fieldID:
		return v.Uint(&f.ID, math.MaxUint64)
	case fieldMessage:
		return v.Bytes(&f.Message)
	case fieldIndex:
		return v.Uint(&f.Index, math.MaxUint32)
	case fieldCount:
		return v.Uint(&f.Count, math.MaxUint32)
	case fieldTotal:
		return v.Uint(&f.Total, MaxFrame)
	case fieldChunk:
		return v.Bytes(&f.Chunk)
	case fieldOldMember:
		return v.Bytes(&f.name)
	}
	return nil
}

func appendTo(list *[][]byte, v field.Value, limit int) error {
	if len(*list) >= limit {
		return ErrMalformed
	}
	var b []byte
	if err := v.Bytes(&b); err != nil {
		return err
	}
	*list = append(*list, b)
	return nil
}

// IsFor reports whether the frame is meant for the instance.
func (f *Frame) IsFor(instance string) bool {
	for _, to := range f.To {
		if string(to) == instance {
			return true
		}
	}
	return len(f.To) == 0
}

// OldName returns the name that a heartbeat of version 1 gives its node, empty
// for any other frame.
func (f *Frame) OldName() (name string) {
	if f.kind != oldBeat {
		return ""
	}
	_ = field.Each(f.name, func(num field.Number, v field.Value) error { // a damaged one has no name
		if num == 1 {
			return v.Text(&name, 128)
		}
		return nil
	})
	return name
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
				if f.DecodeUpdate(b, &u) == nil && u.Kind == Update && !yield(string(u.Key), b) {
					return
				}
			}
		}
	}
}
