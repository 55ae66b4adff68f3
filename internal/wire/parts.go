package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

// Part is one state of a full state, as native exchange moves it: Alertmanager's
// clusterpb.Part.
type Part struct {
	Key  []byte
	Data []byte
}

const (
	fieldPart field.Number = 1
	fieldHead field.Number = 101 // Alertmanager skips what is above 100

	maxParts = 1 << 16
)

// AppendPart appends a state to the encoded full state b.
func AppendPart(b []byte, key string, data []byte) []byte {
	size := protowire.SizeTag(fieldKey) + protowire.SizeBytes(len(key)) + protowire.SizeTag(fieldData) + protowire.SizeBytes(len(data))
	b = protowire.AppendTag(b, fieldPart, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = field.AppendBytes(b, fieldKey, key)
	return field.AppendBytes(b, fieldData, data)
}

// AppendHead appends what a full state of ours says besides the states: what
// write appends. Alertmanager's peers skip it.
func AppendHead(b []byte, write func([]byte) []byte) []byte {
	return field.AppendMessage(b, fieldHead, write)
}

// DecodeState parses a full state. The head is nil where it is not of ours. Both
// alias b.
func DecodeState(b []byte) (parts []Part, head []byte, err error) {
	err = field.Each(b, func(num field.Number, v field.Value) error {
		switch {
		case num == fieldHead:
			return v.Bytes(&head)
		case num != fieldPart:
			return nil
		case len(parts) >= maxParts:
			return ErrMalformed
		}
		p, err := decodePart(v)
		parts = append(parts, p)
		return err
	})
	return parts, head, err
}

func decodePart(v field.Value) (p Part, err error) {
	var b []byte
	if err := v.Bytes(&b); err != nil {
		return p, err
	}
	err = field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case fieldKey:
			return v.Bytes(&p.Key)
		case fieldData:
			return v.Bytes(&p.Data)
		}
		return nil
	})
	return p, err
}
