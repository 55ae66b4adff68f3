package wire

import (
	"bytes"
	"math"

	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

// DecodeUpdate is Decode of one of the Updates of the batch f. What AppendUpdate wrote
// for the node that made the batch is read without looking at each field.
func (f *Frame) DecodeUpdate(b []byte, u *Frame) error {
	if len(f.head) == 0 {
		f.head = appendHeader(f.head, f.Version, f.Needs, f.Cluster, f.Origin)
	}
	if f.decodeOwn(b, u) {
		return nil
	}
	return Decode(b, u)
}

var (
	tagKey         = field.TagOfBytes(fieldKey)
	tagData        = field.TagOfBytes(fieldData)
	tagNumber      = field.TagOfUint(fieldNumber)
	tagSent        = field.TagOfFixed64(fieldSent)
	tagIncarnation = field.TagOfUint(fieldIncarnation)
)

// decodeOwn reads an update that is laid out as AppendUpdate does. It reports whether
// it is.
func (f *Frame) decodeOwn(b []byte, u *Frame) bool {
	key, b, ok := field.CutBytes(b, tagKey)
	if !ok {
		return false
	}
	data, b, ok := field.CutBytes(b, tagData)
	if !ok || !bytes.HasPrefix(b, f.head) {
		return false
	}
	number, b, ok := field.CutUint(b[len(f.head):], tagNumber)
	if !ok {
		return false
	}
	sent, b, ok := field.CutFixed64(b, tagSent)
	if !ok {
		return false
	}
	incarnation := uint64(0)
	if len(b) > 0 {
		if incarnation, b, ok = field.CutUint(b, tagIncarnation); !ok || len(b) > 0 || incarnation > math.MaxUint32 {
			return false
		}
	}
	*u = Frame{
		Version: f.Version, Needs: f.Needs, Cluster: f.Cluster, Origin: f.Origin,
		Incarnation: uint32(incarnation), Number: number, Sent: sent, Key: key, Data: data,
		Updates: u.Updates[:0], To: u.To[:0], head: u.head[:0],
	}
	return true
}
