// Package codec is the encoding of the core's messages, as package wire carries
// them in frames. It is protobuf too: fields are only added, and an unknown one is
// skipped.
//
// The decoder is strict, for anybody may write to a bus. Each text and each list
// has a bound, all lists of one message have one together, and an element that
// says nothing is refused: so what a message costs in memory is in proportion to
// its bytes.
package codec

import (
	"fmt"
	"math"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

// The bounds of texts, in bytes.
const (
	maxKey      = 255
	maxInstance = 64
	maxName     = 128
	maxAddr     = 256
	maxMeta     = 512 // of each key and value
)

// The bounds of lists.
const (
	maxMetaPairs = 256
	maxMembers   = 1 << 13 // in a list
	maxNumbers   = 1 << 16 // last numbers: a goodbye tells those of all keys
	maxDeparted  = 64
	maxKeys      = 1 << 16 // states in a message
	maxAskers    = 256
	maxOrigins   = 1 << 13 // of numbers for one state
	maxRanges    = 1 << 12 // in one set of numbers
	maxEntries   = 1 << 13 // in one step of a walk
	maxElements  = 1 << 18 // of all lists of one message
)

// maxInterval bounds a time that a message tells.
const maxInterval = uint64(24 * time.Hour / time.Millisecond)

// Kind returns the kind of the frames that carry m, and to whom it is: nobody
// means all.
func Kind(m core.Message) (kind wire.Kind, to []string) {
	switch m := m.(type) {
	case *core.Heartbeat:
		return wire.Heartbeat, nil
	case *core.Goodbye:
		return wire.Goodbye, nil
	case *core.Void:
		return wire.Void, nil
	case *core.List:
		return wire.List, one(m.To)
	case *core.ListRequest:
		return wire.ListAsked, one(m.To)
	case *core.Missing:
		return wire.Missing, one(m.To)
	case *core.Kept:
		return wire.Kept, nil
	case *core.Pull:
		return wire.Pull, one(m.To)
	case *core.Answer:
		for _, a := range m.For {
			to = append(to, a.Instance)
		}
		return wire.Answer, to
	case *core.Push:
		return wire.Push, one(m.To)
	case *core.Walk:
		return wire.Walk, one(m.To)
	case *core.Walked:
		return wire.Walked, one(m.For.Instance)
	}
	panic(fmt.Sprintf("codec: no kind of frame carries %T", m))
}

func one(to string) []string {
	if to == "" {
		return nil
	}
	return []string{to}
}

// tailBytes is from how many bytes on data is not copied into a frame.
const tailBytes = 64 << 10

// Encode returns m as a frame.
func Encode(e *wire.Encoder, m core.Message) []byte {
	kind, to := Kind(m)
	return e.Message(kind, to, size(m), func(b []byte) []byte { return Append(b, m) })
}

// EncodeOpen returns m as a frame in two parts: the second is the largest data in m
// itself, where that is large. The first is in a buffer that room returns, for so many
// bytes.
func EncodeOpen(e *wire.Encoder, m core.Message, room func(int) []byte) (head, tail []byte) {
	kind, to := Kind(m)
	tail, write := open(m)
	return e.Open(room, kind, to, size(m)-len(tail), len(tail), write), tail
}

// open returns the data that m ends with, and what appends all before it.
func open(m core.Message) (tail []byte, write func([]byte) []byte) {
	switch m := m.(type) {
	case *core.Answer:
		last := 0
		for i := range m.Items {
			if len(m.Items[i].Data) > len(m.Items[last].Data) {
				last = i
			}
		}
		if len(m.Items) > 0 && len(m.Items[last].Data) >= tailBytes {
			return m.Items[last].Data, func(b []byte) []byte { return appendOpenAnswer(b, m, last) }
		}
	case *core.Push:
		if len(m.Data) >= tailBytes {
			return m.Data, func(b []byte) []byte { return appendOpenPush(b, m) }
		}
	}
	return nil, func(b []byte) []byte { return Append(b, m) }
}

// size is about how many bytes Append appends.
func size(m core.Message) int {
	switch m := m.(type) {
	case *core.Answer:
		n := 64 * len(m.For)
		for i := range m.Items {
			n += len(m.Items[i].Key) + len(m.Items[i].Data) + 64
		}
		return n
	case *core.Push:
		return len(m.Key) + len(m.Data) + 64
	case *core.Walk:
		n := 256 + core.SizeOf(m.Entries) + 8*len(m.Entries) + 16*len(m.Ask.Splits)
		for i := range m.Ask.Lists {
			n += 32 + 8*len(m.Ask.Lists[i].Places)
		}
		return n
	case *core.Walked:
		return 256 + core.SizeOf(m.Entries) + 8*len(m.Entries) + 8*(len(m.Reply.Prints)+len(m.Reply.Wants))
	case *core.List:
		return 128 * len(m.Members)
	}
	return 256
}

// Append appends m to b.
func Append(b []byte, m core.Message) []byte {
	switch m := m.(type) {
	case *core.Heartbeat:
		return appendHeartbeat(b, m)
	case *core.Goodbye:
		b = field.AppendUint(b, 1, uint64(m.Incarnation))
		b = field.AppendUint(b, 2, m.Count)
		return appendAll(b, 3, m.Numbers, appendLast)
	case *core.Void:
		b = field.AppendText(b, 1, m.Instance)
		return field.AppendUint(b, 2, uint64(m.Incarnation))
	case *core.List:
		b = field.AppendText(b, 1, m.To)
		return appendAll(b, 2, m.Members, appendListMember)
	case *core.ListRequest:
		return field.AppendText(b, 1, m.To)
	case *core.Missing:
		b = field.AppendText(b, 1, m.To)
		return appendAll(b, 2, m.Wants, appendWant)
	case *core.Kept:
		b = field.AppendUint(b, 1, uint64(m.Incarnation))
		return appendAll(b, 2, m.Keys, appendKeptKey)
	case *core.Pull:
		return appendPull(b, m)
	case *core.Answer:
		return appendAnswer(b, m)
	case *core.Push:
		return append(appendOpenPush(b, m), m.Data...)
	case *core.Walk:
		return appendWalk(b, m)
	case *core.Walked:
		return appendWalked(b, m)
	}
	panic(fmt.Sprintf("codec: %T cannot be encoded", m))
}

// AppendHead appends what a full state of the transport's own exchange says
// besides the states.
func AppendHead(b []byte, h *core.Head) []byte {
	b = field.AppendText(b, 1, h.Instance)
	b = field.AppendMessage(b, 2, func(b []byte) []byte { return appendView(b, h.View) })
	return appendAll(b, 3, h.Items, appendAnswerItem)
}

func appendAll[T any](b []byte, num field.Number, all []T, one func([]byte, *T) []byte) []byte {
	for i := range all {
		b = field.AppendMessage(b, num, func(b []byte) []byte { return one(b, &all[i]) })
	}
	return b
}

// Decode parses the message of a frame of that kind. Its bytes alias b. The error
// wraps [wire.ErrMalformed].
func Decode(kind wire.Kind, b []byte) (core.Message, error) {
	d := &decoder{left: maxElements}
	switch kind {
	case wire.Heartbeat:
		return decode(d, b, (*decoder).heartbeat)
	case wire.Goodbye:
		return decode(d, b, (*decoder).goodbye)
	case wire.Void:
		return decode(d, b, (*decoder).void)
	case wire.List:
		return decode(d, b, (*decoder).list)
	case wire.ListAsked:
		return decode(d, b, (*decoder).listRequest)
	case wire.Missing:
		return decode(d, b, (*decoder).missing)
	case wire.Kept:
		return decode(d, b, (*decoder).kept)
	case wire.Pull:
		return decode(d, b, (*decoder).pull)
	case wire.Answer:
		return decode(d, b, (*decoder).answer)
	case wire.Push:
		return decode(d, b, (*decoder).push)
	case wire.Walk:
		return decode(d, b, (*decoder).walk)
	case wire.Walked:
		return decode(d, b, (*decoder).walked)
	}
	return nil, fmt.Errorf("%w: frames of kind %d hold no message", wire.ErrMalformed, kind)
}

// DecodeHead parses what AppendHead appended.
func DecodeHead(b []byte) (*core.Head, error) {
	h := new(core.Head)
	d := &decoder{left: maxElements}
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&h.Instance, maxInstance)
		case 2:
			return message(v, &h.View, d.view)
		case 3:
			return list(d, &h.Items, v, maxKeys, d.answerItem)
		}
		return nil
	})
	if err == nil && h.Instance == "" {
		err = wire.ErrMalformed
	}
	return h, err
}

// decoder counts the elements of the lists of one message.
type decoder struct{ left int }

// decode is for the methods below: a message that is not whole is none.
func decode[M core.Message](d *decoder, b []byte, f func(*decoder, []byte) (M, error)) (core.Message, error) {
	m, err := f(d, b)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// message reads a message within a message.
func message[T any](v field.Value, to *T, decode func([]byte, *T) error) error {
	var b []byte
	if err := v.Bytes(&b); err != nil {
		return err
	}
	return decode(b, to)
}

// list reads one element of a list.
func list[T any](d *decoder, all *[]T, v field.Value, limit int, decode func([]byte, *T) error) error {
	if d.left--; d.left < 0 || len(*all) >= limit {
		return wire.ErrMalformed
	}
	var one T
	if err := message(v, &one, decode); err != nil {
		return err
	}
	*all = append(*all, one)
	return nil
}

// small reads a number that is one of the first few.
func small[T ~uint8](v field.Value, to *T, highest T) error {
	var n uint64
	err := v.Uint(&n, uint64(highest))
	*to = T(n)
	return err
}

func milliseconds(v field.Value, to *time.Duration) error {
	var n uint64
	err := v.Uint(&n, maxInterval)
	*to = time.Duration(n) * time.Millisecond
	return err
}

func number(v field.Value, to *uint64) error { return v.Uint(to, math.MaxUint64) }
