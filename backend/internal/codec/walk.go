package codec

import (
	"encoding/binary"
	"slices"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
	"github.com/clusterchannel/clusterchannel/internal/wire"
	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

func appendWalk(b []byte, m *core.Walk) []byte {
	b = field.AppendText(b, 1, m.To)
	b = field.AppendUint(b, 2, m.ID)
	b = field.AppendText(b, 3, m.Key)
	b = field.AppendUint(b, 4, m.Step)
	b = field.AppendUint(b, 5, m.Room)
	b = appendRangeWords(b, 6, m.Ask.Splits)
	b = appendAll(b, 7, m.Ask.Lists, appendList)
	b = appendEntries(b, 8, m.Entries)
	return field.AppendBool(b, 9, m.More)
}

func (d *decoder) walk(b []byte) (*core.Walk, error) {
	m := &core.Walk{Entries: roomFor(b, 8)}
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&m.To, maxInstance)
		case 2:
			return number(v, &m.ID)
		case 3:
			return v.Text(&m.Key, maxKey)
		case 4:
			return number(v, &m.Step)
		case 5:
			return number(v, &m.Room)
		case 6:
			return d.rangeWords(v, &m.Ask.Splits)
		case 7:
			return list(d, &m.Ask.Lists, v, reconcile.MaxLists, d.listOf)
		case 8:
			return d.entry(v, &m.Entries)
		case 9:
			return v.Bool(&m.More)
		}
		return nil
	})
	if err == nil && m.Key == "" {
		err = wire.ErrMalformed
	}
	return m, err
}

func appendWalked(b []byte, m *core.Walked) []byte {
	b = field.AppendMessage(b, 1, func(b []byte) []byte { return appendAsker(b, &m.For) })
	b = field.AppendText(b, 2, m.Key)
	b = field.AppendUint(b, 3, m.Step)
	b = field.AppendUint(b, 4, uint64(m.Outcome))
	b = appendWords(b, 5, m.Reply.Prints)
	b = appendWords(b, 6, m.Reply.Wants)
	if m.Reply.Next != 0 {
		b = field.AppendFixed64(b, 7, m.Reply.Next)
	}
	b = appendEntries(b, 8, m.Entries)
	b = field.AppendBool(b, 9, m.Gone)
	return field.AppendUint(b, 10, m.Refused)
}

func (d *decoder) walked(b []byte) (*core.Walked, error) {
	m := &core.Walked{Entries: roomFor(b, 8)}
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return message(v, &m.For, d.asker)
		case 2:
			return v.Text(&m.Key, maxKey)
		case 3:
			return number(v, &m.Step)
		case 4:
			return small(v, &m.Outcome, core.Apart)
		case 5:
			return d.words(v, &m.Reply.Prints, reconcile.MaxSplits*16)
		case 6:
			return d.words(v, &m.Reply.Wants, reconcile.MaxListed)
		case 7:
			return v.Fixed64(&m.Reply.Next)
		case 8:
			return d.entry(v, &m.Entries)
		case 9:
			return v.Bool(&m.Gone)
		case 10:
			return number(v, &m.Refused)
		}
		return nil
	})
	if err == nil && (m.Key == "" || m.For.Instance == "") {
		err = wire.ErrMalformed
	}
	return m, err
}

func appendList(b []byte, l *reconcile.List) []byte {
	b = appendRangeWords(b, 1, []reconcile.Range{l.Range})
	return appendWords(b, 2, l.Places)
}

func (d *decoder) listOf(b []byte, l *reconcile.List) error {
	var ranges []reconcile.Range
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return d.rangeWords(v, &ranges)
		case 2:
			return d.words(v, &l.Places, reconcile.MaxListed)
		}
		return nil
	})
	if err == nil && len(ranges) != 1 {
		return wire.ErrMalformed
	}
	if err == nil {
		l.Range = ranges[0]
	}
	return err
}

// appendEntries appends entries, each a field of its own.
func appendEntries(b []byte, num field.Number, entries [][]byte) []byte {
	for _, e := range entries {
		b = field.AppendBytes(b, num, e)
	}
	return b
}

// roomFor returns room for the entries of a message, each a field of that number.
func roomFor(b []byte, entries field.Number) [][]byte {
	count := 0
	err := field.Each(b, func(num field.Number, _ field.Value) error {
		if num == entries {
			count++
		}
		return nil
	})
	if err != nil || count > maxEntries {
		return nil // it is refused
	}
	return slices.Grow([][]byte(nil), count)
}

func (d *decoder) entry(v field.Value, entries *[][]byte) error {
	var b []byte
	if d.left--; d.left < 0 || len(*entries) >= maxEntries || v.Bytes(&b) != nil {
		return wire.ErrMalformed
	}
	*entries = append(*entries, b)
	return nil
}

// appendWords appends numbers that look random, 8 bytes each.
func appendWords(b []byte, num field.Number, words []uint64) []byte {
	if len(words) == 0 {
		return b
	}
	return field.AppendMessage(b, num, func(b []byte) []byte {
		for _, w := range words {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
		return b
	})
}

func (d *decoder) words(v field.Value, words *[]uint64, limit int) error {
	var b []byte
	if v.Bytes(&b) != nil || len(*words) > 0 || len(b) == 0 || len(b)%8 != 0 || len(b)/8 > limit {
		return wire.ErrMalformed
	}
	if d.left -= len(b) / 8; d.left < 0 {
		return wire.ErrMalformed
	}
	*words = make([]uint64, len(b)/8)
	for i := range *words {
		(*words)[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return nil
}

func appendRangeWords(b []byte, num field.Number, ranges []reconcile.Range) []byte {
	words := make([]uint64, 0, 2*len(ranges))
	for _, r := range ranges {
		words = append(words, r.First, r.Last)
	}
	return appendWords(b, num, words)
}

func (d *decoder) rangeWords(v field.Value, ranges *[]reconcile.Range) error {
	var words []uint64
	if err := d.words(v, &words, 2*reconcile.MaxSplits); err != nil || len(words)%2 != 0 || len(*ranges) > 0 {
		return wire.ErrMalformed
	}
	for i := 0; i < len(words); i += 2 {
		*ranges = append(*ranges, reconcile.Range{First: words[i], Last: words[i+1]})
	}
	return nil
}
