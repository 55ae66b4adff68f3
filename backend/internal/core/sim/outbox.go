package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// outbox holds the updates that wait to be sent.
type outbox struct {
	waiting []update
	sending bool
}

const outboxItems = 65536

func (o *outbox) busy() bool { return o.sending || len(o.waiting) > 0 }

// update is one update on its way.
type update struct {
	key         string
	incarnation uint32
	number      uint64
	entry       int
}

func encodeEntry(e int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(e)) }

func decodeEntry(b []byte) int { return int(binary.BigEndian.Uint64(b)) }

// say broadcasts a new entry of key.
func (p *process) say(key string) {
	st := p.states[key]
	if st == nil || p.phase != alive || len(p.out.waiting) >= outboxItems {
		return
	}
	e := p.w.newEntry(p, key, false)
	if p.ownLate > 0 {
		p.after(p.ownLate, func() { st.set.add(e) })
	} else {
		st.set.add(e)
	}
	incarnation, n := p.core.Assign(key, encodeEntry(e))
	p.numbers[number{key, incarnation, n}] = e
	p.out.waiting = append(p.out.waiting, update{key, incarnation, n, e})
	p.send()
}

// keep puts a new entry into the own state alone, as Alertmanager does with what
// it reads from a file.
func (p *process) keep(key string) {
	if st := p.states[key]; st != nil {
		st.set.add(p.w.newEntry(p, key, true))
	}
}

func (w *World) newEntry(p *process, key string, silent bool) int {
	by := ""
	if p != nil {
		by = p.instance
	}
	w.entries = append(w.entries, entry{by: by, key: key, at: w.now, silent: silent})
	return len(w.entries) - 1
}

// send sends what waits, as one frame, and goes on until nothing does. Without a
// link it waits.
func (p *process) send() {
	if p.out.sending || len(p.out.waiting) == 0 || !p.link.up {
		return
	}
	p.out.sending = true
	p.after(p.w.between(20*time.Microsecond, 300*time.Microsecond), func() {
		batch := p.out.waiting
		p.out = outbox{}
		if len(batch) == 0 {
			return
		}
		p.w.net.send(p, &frame{from: p.instance, updates: batch, size: 100 + 60*len(batch)})
		wake := false
		for i, u := range batch {
			if !slices.ContainsFunc(batch[i+1:], func(later update) bool { return later.key == u.key }) {
				wake = p.core.Sent(p.clock(), u.key, u.number) || wake
			}
		}
		if wake {
			p.carryOut("Sent")
		}
		p.send()
	})
}

// resend sends updates once more. Their bytes are read at once.
func (p *process) resend(e core.Resend) {
	batch := make([]update, len(e.Updates))
	for i, u := range e.Updates {
		batch[i] = update{u.Key, e.Incarnation, u.Number, decodeEntry(u.Data)}
		if known, ok := p.numbers[number{u.Key, e.Incarnation, u.Number}]; ok && known != batch[i].entry {
			p.w.fail("%s sends %s#%d again with another content", p.instance, u.Key, u.Number)
		}
		p.numbers[number{u.Key, e.Incarnation, u.Number}] = batch[i].entry
	}
	p.w.net.send(p, &frame{from: p.instance, to: e.To, updates: batch, size: 100 + 60*len(batch)})
}

// sendMessage sends a message. The data of an answer waits its turn behind the
// updates; all else goes at once.
func (p *process) sendMessage(e core.Send) {
	f := &frame{from: p.instance, to: e.To, message: e.Message, size: sizeOf(e.Message)}
	p.w.check.sends(p, f)
	if f.size < 4096 {
		p.w.net.send(p, f)
		return
	}
	p.after(time.Duration(f.size)*8*time.Nanosecond, func() { p.w.net.send(p, f) })
}
