package codec

import (
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
	"github.com/clusterchannel/clusterchannel/internal/wire"
	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

func appendPull(b []byte, m *core.Pull) []byte {
	b = field.AppendText(b, 1, m.To)
	b = field.AppendUint(b, 2, m.ID)
	if m.HasRoot {
		b = field.AppendFixed64(b, 3, m.Root)
	}
	b = field.AppendUint(b, 4, m.Keys)
	return appendAll(b, 5, m.Items, appendPullItem)
}

func (d *decoder) pull(b []byte) (*core.Pull, error) {
	m := new(core.Pull)
	return m, field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&m.To, maxInstance)
		case 2:
			return number(v, &m.ID)
		case 3:
			m.HasRoot = true
			return v.Fixed64(&m.Root)
		case 4:
			return number(v, &m.Keys)
		case 5:
			return list(d, &m.Items, v, maxKeys, d.pullItem)
		}
		return nil
	})
}

func appendPullItem(b []byte, it *core.PullItem) []byte {
	b = field.AppendText(b, 1, it.Key)
	if it.HasDigest {
		b = field.AppendFixed64(b, 2, it.Digest)
	}
	b = field.AppendBool(b, 3, it.All)
	b = appendAll(b, 4, it.Holes, appendNumbers)
	return field.AppendUint(b, 5, it.Entries)
}

func (d *decoder) pullItem(b []byte, it *core.PullItem) error {
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&it.Key, maxKey)
		case 2:
			it.HasDigest = true
			return v.Fixed64(&it.Digest)
		case 3:
			return v.Bool(&it.All)
		case 4:
			return list(d, &it.Holes, v, maxOrigins, d.numbers)
		case 5:
			return number(v, &it.Entries)
		}
		return nil
	})
	if err == nil && it.Key == "" {
		return wire.ErrMalformed
	}
	return err
}

func appendAnswer(b []byte, m *core.Answer) []byte {
	b = appendAll(b, 1, m.For, appendAsker)
	b = appendAll(b, 2, m.Items, appendAnswerItem)
	return appendEnd(b, m)
}

// appendOpenAnswer appends all but the data of one item, which follows.
func appendOpenAnswer(b []byte, m *core.Answer, last int) []byte {
	b = appendAll(b, 1, m.For, appendAsker)
	b = appendAll(b, 2, m.Items[:last], appendAnswerItem)
	b = appendAll(b, 2, m.Items[last+1:], appendAnswerItem)
	b = appendEnd(b, m)
	it := m.Items[last]
	data := len(it.Data)
	it.Data = nil
	return field.AppendOpen(b, 2, data, func(b []byte) []byte {
		return field.AppendLength(appendAnswerItem(b, &it), 5, data)
	})
}

func appendEnd(b []byte, m *core.Answer) []byte {
	b = field.AppendBool(b, 3, m.Differ)
	b = field.AppendBool(b, 4, m.End)
	for _, key := range m.Sent {
		b = field.AppendBytes(b, 5, key)
	}
	return b
}

func (d *decoder) answer(b []byte) (*core.Answer, error) {
	m := new(core.Answer)
	return m, field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return list(d, &m.For, v, maxAskers, d.asker)
		case 2:
			return list(d, &m.Items, v, maxKeys, d.answerItem)
		case 3:
			return v.Bool(&m.Differ)
		case 4:
			return v.Bool(&m.End)
		case 5:
			return d.key(v, &m.Sent)
		}
		return nil
	})
}

func (d *decoder) key(v field.Value, keys *[]string) error {
	var key string
	if d.left--; d.left < 0 || len(*keys) >= maxKeys || v.Text(&key, maxKey) != nil || key == "" {
		return wire.ErrMalformed
	}
	*keys = append(*keys, key)
	return nil
}

func appendAsker(b []byte, a *core.Asker) []byte {
	return field.AppendUint(field.AppendText(b, 1, a.Instance), 2, a.ID)
}

func (d *decoder) asker(b []byte, a *core.Asker) error {
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&a.Instance, maxInstance)
		case 2:
			return number(v, &a.ID)
		}
		return nil
	})
	if err == nil && a.Instance == "" {
		return wire.ErrMalformed
	}
	return err
}

func appendAnswerItem(b []byte, it *core.AnswerItem) []byte {
	b = field.AppendText(b, 1, it.Key)
	b = field.AppendUint(b, 2, uint64(it.Outcome))
	b = field.AppendUint(b, 3, uint64(it.Worth))
	if it.HasDigest {
		b = field.AppendFixed64(b, 4, it.Digest)
	}
	if it.Data != nil {
		b = field.AppendBytes(b, 5, it.Data)
	}
	b = appendAll(b, 6, it.Numbers, appendNumbers)
	if it.Salt != 0 {
		b = field.AppendFixed64(b, 7, it.Salt)
	}
	return appendWords(b, 8, it.Sketch)
}

func (d *decoder) answerItem(b []byte, it *core.AnswerItem) error {
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&it.Key, maxKey)
		case 2:
			return small(v, &it.Outcome, core.Apart)
		case 3:
			return small(v, &it.Worth, core.Whole)
		case 4:
			it.HasDigest = true
			return v.Fixed64(&it.Digest)
		case 5:
			return v.Bytes(&it.Data)
		case 6:
			return list(d, &it.Numbers, v, maxOrigins, d.numbers)
		case 7:
			return v.Fixed64(&it.Salt)
		case 8:
			return d.words(v, &it.Sketch, reconcile.MaxSketch)
		}
		return nil
	})
	if err == nil && it.Key == "" && it.Outcome != core.Equal {
		return wire.ErrMalformed
	}
	return err
}

// appendOpenPush appends all but the data, which follows.
func appendOpenPush(b []byte, m *core.Push) []byte {
	b = field.AppendText(b, 1, m.To)
	b = field.AppendText(b, 2, m.Key)
	b = field.AppendFixed64(b, 3, m.Digest)
	return field.AppendLength(b, 4, len(m.Data))
}

func (d *decoder) push(b []byte) (*core.Push, error) {
	m := new(core.Push)
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&m.To, maxInstance)
		case 2:
			return v.Text(&m.Key, maxKey)
		case 3:
			return v.Fixed64(&m.Digest)
		case 4:
			return v.Bytes(&m.Data)
		}
		return nil
	})
	if err == nil && m.Key == "" {
		return m, wire.ErrMalformed
	}
	return m, err
}
