package codec

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

func appendLast(b []byte, l *core.Last) []byte {
	return field.AppendUint(field.AppendText(b, 1, l.Key), 2, l.Number)
}

func (d *decoder) last(b []byte, l *core.Last) error {
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&l.Key, maxKey)
		case 2:
			return number(v, &l.Number)
		}
		return nil
	})
	if err == nil && l.Key == "" {
		return wire.ErrMalformed
	}
	return err
}

func appendDeparted(b []byte, m *core.Departed) []byte {
	b = field.AppendText(b, 1, m.Instance)
	b = field.AppendUint(b, 2, uint64(m.Incarnation))
	return appendAll(b, 3, m.Numbers, appendLast)
}

func (d *decoder) departed(b []byte, m *core.Departed) error {
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&m.Instance, maxInstance)
		case 2:
			return v.Uint32(&m.Incarnation)
		case 3:
			return list(d, &m.Numbers, v, maxNumbers, d.last)
		}
		return nil
	})
	if err == nil && m.Instance == "" {
		return wire.ErrMalformed
	}
	return err
}

func (d *decoder) missing(b []byte) (*core.Missing, error) {
	m := new(core.Missing)
	return m, field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&m.To, maxInstance)
		case 2:
			return list(d, &m.Wants, v, maxKeys, d.want)
		}
		return nil
	})
}

func appendWant(b []byte, w *core.Want) []byte {
	b = field.AppendText(b, 1, w.Key)
	b = field.AppendUint(b, 2, uint64(w.Incarnation))
	return appendRanges(b, 3, w.Numbers)
}

func (d *decoder) want(b []byte, w *core.Want) error {
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&w.Key, maxKey)
		case 2:
			return v.Uint32(&w.Incarnation)
		case 3:
			return d.ranges(v, &w.Numbers)
		}
		return nil
	})
	if err == nil && w.Key == "" {
		return wire.ErrMalformed
	}
	return err
}

func (d *decoder) kept(b []byte) (*core.Kept, error) {
	m := new(core.Kept)
	return m, field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Uint32(&m.Incarnation)
		case 2:
			return list(d, &m.Keys, v, maxKeys, d.keptKey)
		}
		return nil
	})
}

func appendKeptKey(b []byte, k *core.KeptKey) []byte {
	b = field.AppendText(b, 1, k.Key)
	b = field.AppendUint(b, 2, k.Last)
	return appendRanges(b, 3, k.Gone)
}

func (d *decoder) keptKey(b []byte, k *core.KeptKey) error {
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&k.Key, maxKey)
		case 2:
			return number(v, &k.Last)
		case 3:
			return d.ranges(v, &k.Gone)
		}
		return nil
	})
	if err == nil && k.Key == "" {
		return wire.ErrMalformed
	}
	return err
}

func appendNumbers(b []byte, n *core.Numbers) []byte {
	b = field.AppendText(b, 1, n.Origin)
	b = field.AppendUint(b, 2, uint64(n.Incarnation))
	return appendRanges(b, 3, n.Ranges)
}

func (d *decoder) numbers(b []byte, n *core.Numbers) error {
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&n.Origin, maxInstance)
		case 2:
			return v.Uint32(&n.Incarnation)
		case 3:
			return d.ranges(v, &n.Ranges)
		}
		return nil
	})
	if err == nil && (n.Origin == "" || len(n.Ranges) == 0) {
		return wire.ErrMalformed
	}
	return err
}

// appendRanges appends a set of numbers, each range by its distance from the one
// before and its length: mostly two or three bytes.
func appendRanges(b []byte, num field.Number, rs core.Ranges) []byte {
	if len(rs) == 0 {
		return b
	}
	return field.AppendMessage(b, num, func(b []byte) []byte {
		at := uint64(0)
		for _, r := range rs[:min(len(rs), maxRanges)] {
			b = protowire.AppendVarint(b, r.First-at)
			b = protowire.AppendVarint(b, r.Last-r.First)
			at = r.Last
		}
		return b
	})
}

// ranges reads a set of numbers, which is in order and apart.
func (d *decoder) ranges(v field.Value, rs *core.Ranges) error {
	var b []byte
	if err := v.Bytes(&b); err != nil || len(*rs) > 0 {
		return wire.ErrMalformed
	}
	at := uint64(0)
	for len(b) > 0 {
		distance, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return wire.ErrMalformed
		}
		length, m := protowire.ConsumeVarint(b[n:])
		if m < 0 {
			return wire.ErrMalformed
		}
		b = b[n+m:]
		first := at + distance
		last := first + length
		apart := distance >= 2 || at == 0 && distance == 1
		if d.left--; d.left < 0 || len(*rs) >= maxRanges || !apart || first < at || last < first {
			return wire.ErrMalformed
		}
		*rs = append(*rs, core.Range{First: first, Last: last})
		at = last
	}
	return nil
}
