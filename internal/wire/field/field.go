// Package field reads and writes the fields of protobuf messages one at a time,
// strictly: a field of another type than expected is malformed, an unknown one is
// skipped. What it returns aliases what it was given.
package field

import (
	"errors"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed says that the bytes are foreign, or damaged.
var ErrMalformed = errors.New("malformed frame")

// Number is the number of a field.
type Number = protowire.Number

// Value is one field's value as it stands on the wire.
type Value struct {
	typ protowire.Type
	num uint64
	b   []byte
}

// Each calls each with every field of b, until it fails.
func Each(b []byte, each func(Number, Value) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrMalformed
		}
		b = b[n:]
		v := Value{typ: typ}
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

// Uint reads a varint of at most limit.
func (v Value) Uint(p *uint64, limit uint64) error {
	if v.typ != protowire.VarintType || v.num > limit {
		return ErrMalformed
	}
	*p = v.num
	return nil
}

// Uint32 reads a varint of 32 bits.
func (v Value) Uint32(p *uint32) error {
	if v.typ != protowire.VarintType || v.num > math.MaxUint32 {
		return ErrMalformed
	}
	*p = uint32(v.num)
	return nil
}

// Bool reads a truth value.
func (v Value) Bool(p *bool) error {
	if v.typ != protowire.VarintType || v.num > 1 {
		return ErrMalformed
	}
	*p = v.num == 1
	return nil
}

// Fixed32 reads four bytes.
func (v Value) Fixed32(p *uint32) error {
	if v.typ != protowire.Fixed32Type {
		return ErrMalformed
	}
	*p = uint32(v.num)
	return nil
}

// Fixed64 reads eight bytes.
func (v Value) Fixed64(p *uint64) error {
	if v.typ != protowire.Fixed64Type {
		return ErrMalformed
	}
	*p = v.num
	return nil
}

// Bytes reads bytes. They alias the message.
func (v Value) Bytes(p *[]byte) error {
	if v.typ != protowire.BytesType {
		return ErrMalformed
	}
	*p = v.b
	return nil
}

// Text reads valid UTF-8 of at most limit bytes.
func (v Value) Text(p *string, limit int) error {
	if v.typ != protowire.BytesType || len(v.b) > limit || !utf8.Valid(v.b) {
		return ErrMalformed
	}
	*p = string(v.b)
	return nil
}

// AppendUint appends a varint, unless it is zero.
func AppendUint(b []byte, num Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

// AppendBool appends a truth value, unless it is false.
func AppendBool(b []byte, num Number, v bool) []byte {
	if !v {
		return b
	}
	return AppendUint(b, num, 1)
}

// AppendFixed32 appends four bytes.
func AppendFixed32(b []byte, num Number, v uint32) []byte {
	return protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), v)
}

// AppendFixed64 appends eight bytes.
func AppendFixed64(b []byte, num Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), v)
}

// AppendBytes appends bytes, or a text.
func AppendBytes[T []byte | string](b []byte, num Number, v T) []byte {
	return append(AppendLength(b, num, len(v)), v...)
}

// AppendLength appends what stands before n bytes.
func AppendLength(b []byte, num Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(n))
}

// AppendText appends a text, unless it is empty.
func AppendText(b []byte, num Number, v string) []byte {
	if v == "" {
		return b
	}
	return AppendBytes(b, num, v)
}

// AppendMessage appends a message within a message: what write appends.
func AppendMessage(b []byte, num Number, write func([]byte) []byte) []byte {
	return AppendOpen(b, num, 0, write)
}

// AppendOpen is AppendMessage of a message that goes on for tail bytes after what
// write appends. They are the caller's to send after b.
func AppendOpen(b []byte, num Number, tail int, write func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	at := len(b)
	b = write(append(b, 0)) // most are short: one byte tells the length
	written := len(b) - at - 1
	size := written + tail
	if size < 1<<7 {
		b[at] = byte(size)
		return b
	}
	var head [10]byte
	n := len(protowire.AppendVarint(head[:0], uint64(size)))
	b = append(b, head[:n-1]...)
	copy(b[at+n:], b[at+1:at+1+written])
	protowire.AppendVarint(b[:at], uint64(size))
	return b
}
