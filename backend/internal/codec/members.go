package codec

import (
	"maps"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

func appendMember(b []byte, m core.Member, instance string) []byte {
	b = field.AppendText(b, 1, m.Name)
	b = field.AppendText(b, 2, m.Addr)
	for _, k := range slices.Sorted(maps.Keys(m.Meta)) {
		b = field.AppendMessage(b, 3, func(b []byte) []byte {
			return field.AppendText(field.AppendText(b, 1, k), 2, m.Meta[k])
		})
	}
	return field.AppendText(b, 4, instance)
}

func (d *decoder) member(b []byte, m *core.Member) error {
	return field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&m.Name, maxName)
		case 2:
			return v.Text(&m.Addr, maxAddr)
		case 3:
			return d.pair(v, m)
		case 4:
			return v.Text(&m.Instance, maxInstance)
		}
		return nil
	})
}

func (d *decoder) pair(v field.Value, m *core.Member) error {
	if d.left--; d.left < 0 || len(m.Meta) >= maxMetaPairs {
		return wire.ErrMalformed
	}
	var pair [2]string
	err := message(v, &pair, func(b []byte, pair *[2]string) error {
		return field.Each(b, func(num field.Number, v field.Value) error {
			if num == 1 || num == 2 {
				return v.Text(&pair[num-1], maxMeta)
			}
			return nil
		})
	})
	if err != nil || pair[0] == "" {
		return wire.ErrMalformed
	}
	if m.Meta == nil {
		m.Meta = map[string]string{}
	}
	m.Meta[pair[0]] = pair[1]
	return nil
}

func appendHeartbeat(b []byte, h *core.Heartbeat) []byte {
	if h.Like == 0 {
		b = field.AppendMessage(b, 1, func(b []byte) []byte { return appendMember(b, h.Member, "") })
	}
	b = field.AppendUint(b, 2, uint64(h.Incarnation))
	b = field.AppendUint(b, 3, h.Count)
	b = field.AppendUint(b, 4, uint64(h.Interval/time.Millisecond))
	b = field.AppendBool(b, 5, h.Hello)
	b = field.AppendBool(b, 6, h.Leaving)
	b = field.AppendUint(b, 7, uint64(h.Worth))
	if h.Like == 0 {
		b = field.AppendFixed64(b, 8, h.KeySet)
		b = field.AppendMessage(b, 9, func(b []byte) []byte { return appendView(b, h.View) })
	}
	b = appendAll(b, 10, h.Numbers, appendLast)
	b = appendAll(b, 11, h.Departed, appendDeparted)
	b = field.AppendBool(b, 12, h.Alone)
	b = field.AppendBool(b, 13, h.Brief)
	if h.Like != 0 {
		b = field.AppendUint(b, 14, h.Count-h.Like)
	}
	return b
}

func (d *decoder) heartbeat(b []byte) (*core.Heartbeat, error) {
	h := new(core.Heartbeat)
	since := uint64(0) // so many heartbeats ago was the one that a short one is like
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return message(v, &h.Member, d.member)
		case 2:
			return v.Uint32(&h.Incarnation)
		case 3:
			return number(v, &h.Count)
		case 4:
			return milliseconds(v, &h.Interval)
		case 5:
			return v.Bool(&h.Hello)
		case 6:
			return v.Bool(&h.Leaving)
		case 7:
			return small(v, &h.Worth, core.Whole)
		case 8:
			return v.Fixed64(&h.KeySet)
		case 9:
			return message(v, &h.View, d.view)
		case 10:
			return list(d, &h.Numbers, v, maxNumbers, d.last)
		case 11:
			return list(d, &h.Departed, v, maxDeparted, d.departed)
		case 12:
			return v.Bool(&h.Alone)
		case 13:
			return v.Bool(&h.Brief)
		case 14:
			return number(v, &since)
		}
		return nil
	})
	if err == nil && since > 0 {
		if since >= h.Count {
			return nil, wire.ErrMalformed
		}
		h.Like = h.Count - since
	}
	return h, err
}

func (d *decoder) goodbye(b []byte) (*core.Goodbye, error) {
	g := new(core.Goodbye)
	return g, field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Uint32(&g.Incarnation)
		case 2:
			return number(v, &g.Count)
		case 3:
			return list(d, &g.Numbers, v, maxNumbers, d.last)
		}
		return nil
	})
}

func (d *decoder) void(b []byte) (*core.Void, error) {
	m := new(core.Void)
	return m, field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&m.Instance, maxInstance)
		case 2:
			return v.Uint32(&m.Incarnation)
		}
		return nil
	})
}

func (d *decoder) list(b []byte) (*core.List, error) {
	m := new(core.List)
	return m, field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Text(&m.To, maxInstance)
		case 2:
			return list(d, &m.Members, v, maxMembers, d.listMember)
		}
		return nil
	})
}

func (d *decoder) listRequest(b []byte) (*core.ListRequest, error) {
	m := new(core.ListRequest)
	return m, field.Each(b, func(num field.Number, v field.Value) error {
		if num == 1 {
			return v.Text(&m.To, maxInstance)
		}
		return nil
	})
}

func appendListMember(b []byte, m *core.ListMember) []byte {
	b = field.AppendMessage(b, 1, func(b []byte) []byte { return appendMember(b, m.Member, m.Member.Instance) })
	b = field.AppendUint(b, 2, uint64(m.Incarnation))
	b = field.AppendUint(b, 3, m.Count)
	b = field.AppendUint(b, 4, uint64(m.Interval/time.Millisecond))
	b = field.AppendUint(b, 5, uint64(m.Worth))
	return field.AppendFixed64(b, 6, m.KeySet)
}

func (d *decoder) listMember(b []byte, m *core.ListMember) error {
	err := field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return message(v, &m.Member, d.member)
		case 2:
			return v.Uint32(&m.Incarnation)
		case 3:
			return number(v, &m.Count)
		case 4:
			return milliseconds(v, &m.Interval)
		case 5:
			return small(v, &m.Worth, core.Whole)
		case 6:
			return v.Fixed64(&m.KeySet)
		}
		return nil
	})
	if err == nil && m.Member.Instance == "" {
		return wire.ErrMalformed
	}
	return err
}

func appendView(b []byte, v core.ViewDigest) []byte {
	return field.AppendUint(field.AppendFixed64(b, 1, v.Hash), 2, v.Count)
}

func (d *decoder) view(b []byte, view *core.ViewDigest) error {
	return field.Each(b, func(num field.Number, v field.Value) error {
		switch num {
		case 1:
			return v.Fixed64(&view.Hash)
		case 2:
			return number(v, &view.Count)
		}
		return nil
	})
}
