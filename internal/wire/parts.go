package wire

import "google.golang.org/protobuf/encoding/protowire"

// Part is one state of a full state, as native exchange moves it: Alertmanager's
// clusterpb.Part.
type Part struct {
	Key  []byte
	Data []byte
}

// AppendPart appends p to the encoded full state b.
func AppendPart(b []byte, key string, data []byte) []byte {
	size := protowire.SizeTag(fieldKey) + protowire.SizeBytes(len(key)) + protowire.SizeTag(fieldData) + protowire.SizeBytes(len(data))
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = protowire.AppendTag(b, fieldKey, protowire.BytesType)
	b = protowire.AppendString(b, key)
	b = protowire.AppendTag(b, fieldData, protowire.BytesType)
	return protowire.AppendBytes(b, data)
}

// DecodeParts parses a full state. The parts alias b.
func DecodeParts(b []byte) ([]Part, error) {
	var parts []Part
	err := fields(b, func(num protowire.Number, v value) error {
		if num != 1 {
			return nil
		}
		return appendTo(&parts, v, decodePart)
	})
	return parts, err
}

func decodePart(b []byte) (p Part, err error) {
	err = fields(b, func(num protowire.Number, v value) error {
		switch num {
		case fieldKey:
			return v.bytes(&p.Key)
		case fieldData:
			return v.bytes(&p.Data)
		}
		return nil
	})
	return p, err
}
