package field

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

// Tag is how a field of one kind begins, for those that cut it off.
type Tag []byte

// TagOfBytes is the tag of a field that AppendBytes appends.
func TagOfBytes(num Number) Tag { return protowire.AppendTag(nil, num, protowire.BytesType) }

// TagOfUint is the tag of a field that AppendUint appends.
func TagOfUint(num Number) Tag { return protowire.AppendTag(nil, num, protowire.VarintType) }

// TagOfFixed64 is the tag of a field that AppendFixed64 appends.
func TagOfFixed64(num Number) Tag { return protowire.AppendTag(nil, num, protowire.Fixed64Type) }

// CutBytes takes a field of bytes off the front of b, if that is the one that b begins
// with. What it returns is a part of b.
func CutBytes(b []byte, tag Tag) (v, rest []byte, ok bool) {
	if !bytes.HasPrefix(b, tag) {
		return nil, nil, false
	}
	v, n := protowire.ConsumeBytes(b[len(tag):])
	if n < 0 {
		return nil, nil, false
	}
	return v[:len(v):len(v)], b[len(tag)+n:], true
}

// CutUint takes a number off the front of b, if that is the field that b begins with.
func CutUint(b []byte, tag Tag) (v uint64, rest []byte, ok bool) {
	if !bytes.HasPrefix(b, tag) {
		return 0, nil, false
	}
	v, n := protowire.ConsumeVarint(b[len(tag):])
	if n < 0 {
		return 0, nil, false
	}
	return v, b[len(tag)+n:], true
}

// CutFixed64 takes a number of eight bytes off the front of b, if that is the field that
// b begins with.
func CutFixed64(b []byte, tag Tag) (v uint64, rest []byte, ok bool) {
	if !bytes.HasPrefix(b, tag) {
		return 0, nil, false
	}
	v, n := protowire.ConsumeFixed64(b[len(tag):])
	if n < 0 {
		return 0, nil, false
	}
	return v, b[len(tag)+n:], true
}
