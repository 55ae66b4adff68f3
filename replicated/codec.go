package replicated

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/clusterchannel/clusterchannel/backend"
)

// A Codec turns values into bytes and back. Its functions have the form of
// json.Marshal and json.Unmarshal: Marshal gets a value, and Unmarshal a pointer to one
// and bytes that it may keep. Both may be called from many goroutines at once, and a panic in
// them is an error of that call.
//
// A key must have one encoding, of at most 65,535 bytes, and be equal (==) when it is
// decoded again: time.Now(), which has a monotonic reading, is not, and 0 and -0 are two
// keys in JSON. A value may have several encodings, such as one whose maps are marshalled
// in any order: it is encoded once, by the node that sets it.
//
// The zero Codec encodes a string, and a slice of bytes, as they are; what implements
// encoding.BinaryMarshaler and BinaryUnmarshaler, or else TextMarshaler and
// TextUnmarshaler, or is a pointer to what does and not nil, by them; everything else as
// JSON. A value is refused if JSON loses a part of it: an unexported field that is set, one
// of two fields with one name, or the bytes of a string that is no UTF-8; unless a tag
// leaves the field out. A nil slice may come back as an empty one, or the other way round;
// what an interface holds comes back as JSON has it; and an encoding of a type's own is
// trusted.
type Codec struct {
	Marshal   func(v any) ([]byte, error)
	Unmarshal func(b []byte, into any) error
}

// codec is a Codec for values of one type, which survives panics.
type codec[T any] struct {
	what      string // in errors
	marshal   func(v *T) ([]byte, error)
	unmarshal func(b []byte, into *T) error
	json      bool // it is that of JSON, which may lose a part of a value
}

// codecOf returns c for values of a type.
func codecOf[T any](what string, c Codec) (codec[T], error) {
	switch {
	case (c.Marshal == nil) != (c.Unmarshal == nil):
		return codec[T]{}, fmt.Errorf("%w: the codec of a %s has one function, want both or none", backend.ErrConfig, what)
	case c.Marshal == nil:
		return usual[T](what), nil
	}
	return codec[T]{
		what:      what,
		marshal:   func(v *T) ([]byte, error) { return c.Marshal(*v) },
		unmarshal: func(b []byte, into *T) error { return c.Unmarshal(b, into) },
	}, nil
}

// usual is what the zero Codec means for a type.
func usual[T any](what string) codec[T] {
	c := codec[T]{what: what}
	v := target(new(T))
	_, toBinary := v.(encoding.BinaryMarshaler)
	_, fromBinary := v.(encoding.BinaryUnmarshaler)
	_, toText := v.(encoding.TextMarshaler)
	_, fromText := v.(encoding.TextUnmarshaler)
	switch t := reflect.TypeFor[T](); {
	case toBinary && fromBinary:
		c.marshal = func(v *T) ([]byte, error) {
			from, err := source(v)
			if err != nil {
				return nil, err
			}
			return from.(encoding.BinaryMarshaler).MarshalBinary()
		}
		c.unmarshal = func(b []byte, into *T) error { return target(into).(encoding.BinaryUnmarshaler).UnmarshalBinary(b) }
	case toText && fromText:
		c.marshal = func(v *T) ([]byte, error) {
			from, err := source(v)
			if err != nil {
				return nil, err
			}
			return from.(encoding.TextMarshaler).MarshalText()
		}
		c.unmarshal = func(b []byte, into *T) error { return target(into).(encoding.TextUnmarshaler).UnmarshalText(b) }
	case t.Kind() == reflect.String:
		c.marshal = func(v *T) ([]byte, error) { return []byte(reflect.ValueOf(v).Elem().String()), nil }
		c.unmarshal = func(b []byte, into *T) error { reflect.ValueOf(into).Elem().SetString(string(b)); return nil }
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		c.marshal = func(v *T) ([]byte, error) { return reflect.ValueOf(v).Elem().Bytes(), nil }
		c.unmarshal = func(b []byte, into *T) error { reflect.ValueOf(into).Elem().SetBytes(b); return nil }
	default:
		c.json = true
		c.marshal = func(v *T) ([]byte, error) { return json.Marshal(v) }
		c.unmarshal = func(b []byte, into *T) error { return json.Unmarshal(b, into) }
	}
	return c
}

// target returns what a value is decoded into: v, or a new value that *v points to from
// now on, if that is a pointer.
func target[T any](v *T) any {
	p := reflect.ValueOf(v).Elem()
	if p.Kind() != reflect.Pointer {
		return v
	}
	p.Set(reflect.New(p.Type().Elem()))
	return p.Interface()
}

// source returns what is encoded for *v: v, or *v if that is a pointer.
func source[T any](v *T) (any, error) {
	p := reflect.ValueOf(v).Elem()
	switch {
	case p.Kind() != reflect.Pointer:
		return v, nil
	case p.IsNil():
		return nil, fmt.Errorf("a nil %v has no encoding: set Options for one, or delete the key", p.Type())
	}
	return p.Interface(), nil
}

// encode returns v as bytes.
func (c codec[T]) encode(v T) (string, error) {
	var b []byte
	if err := contain(func() (err error) { b, err = c.marshal(&v); return err }); err != nil {
		return "", fmt.Errorf("%w: %s of type %T: %w", ErrCodec, c.what, v, err)
	}
	return string(b), nil
}

// encodeValue is encode for what is to be held: it can be decoded again, and has then lost
// nothing. Its errors do not show it: values may be secrets.
func (c codec[T]) encodeValue(v T) (string, error) {
	encoded, err := c.encode(v)
	if err != nil {
		return "", err
	}
	back, err := c.decode(encoded)
	if err != nil {
		return "", fmt.Errorf("it cannot be decoded again: %w", err)
	}
	if !c.json {
		return encoded, nil
	}
	where := ""
	err = contain(func() error { where = lost(reflect.ValueOf(&v).Elem(), reflect.ValueOf(&back).Elem()); return nil })
	if err == nil && where != "" {
		err = fmt.Errorf("JSON loses %v%s: leave it out by a tag, or set a Codec in Options", reflect.TypeFor[T](), where)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrCodec, c.what, err)
	}
	return encoded, nil
}

// encodeKey is encodeValue for what others are told apart by: it is the same when it is
// decoded again.
func encodeKey[K comparable](c codec[K], k K) (string, error) {
	encoded, err := c.encode(k)
	if err != nil {
		return "", fmt.Errorf("%s: %w", shown(k), err)
	}
	if len(encoded) > maxKey {
		return "", fmt.Errorf("%w: %s %s has %d bytes, want at most %d", ErrCodec, c.what, shown(k), len(encoded), maxKey)
	}
	same := false
	err = contain(func() error { // == panics for an interface that holds what cannot be compared
		again, err := c.decode(encoded)
		same = again == k
		return err
	})
	if err != nil || !same {
		return "", fmt.Errorf("%w: %s %s is not the same when it is decoded again", ErrCodec, c.what, shown(k))
	}
	return encoded, nil
}

// decode returns what is encoded, which nobody else has.
func (c codec[T]) decode(encoded string) (v T, err error) {
	if err = contain(func() error { return c.unmarshal([]byte(encoded), &v) }); err != nil {
		var none T
		return none, fmt.Errorf("%w: %s: %w", ErrCodec, c.what, err)
	}
	return v, nil
}

// shown returns the beginning of what stands for v in an error.
func shown(v any) (text string) {
	_ = contain(func() error { text = fmt.Sprintf("%.64q", fmt.Sprint(v)); return nil })
	return text
}

// contain turns a panic of f, which calls the user's code, into an error.
func contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}
