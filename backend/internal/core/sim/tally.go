package sim

import (
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// tally counts what the budgets are about.
type tally struct {
	w      *World
	counts map[string]float64
	nodes  map[*process]*meter
}

// meter holds what one node did lately.
type meter struct {
	exchanges window // pulls that it sent
	answered  window // bytes of states
	frames    window // control frames
	ticks     window // that led to nothing
}

// window counts within a stretch of time, about: what is older is let out bit by
// bit, as of a bucket that leaks.
type window struct {
	level float64
	last  time.Duration
}

// add adds n to a bucket that loses rate a second, and returns its level.
func (b *window) add(now time.Duration, n, rate float64) float64 {
	b.level = max(0, b.level-rate*seconds(now-b.last)) + n
	b.last = now
	return b.level
}

func newTally(w *World) *tally {
	return &tally{w: w, counts: map[string]float64{}, nodes: map[*process]*meter{}}
}

func (t *tally) count(name string, n float64) { t.counts[name] += n }

func (t *tally) of(p *process) *meter {
	m := t.nodes[p]
	if m == nil {
		m = new(meter)
		t.nodes[p] = m
	}
	return m
}

// effect counts what a core asks for.
func (t *tally) effect(p *process, e core.Effect) {
	switch e := e.(type) {
	case core.Note:
		t.count("note."+strings.ReplaceAll(notes[e.Kind], " ", "-"), 1)
		if e.Kind == core.NoteExchange {
			t.started(p)
		}
		t.count("noted."+strings.ReplaceAll(notes[e.Kind], " ", "-"), float64(e.Count))
	case core.Marshal:
		t.count("marshals", 1)
	case core.Merge:
		t.count("merges", 1)
	case core.Reopen:
		t.count("reopens", 1)
	case core.Publish:
		t.count("views", 1)
	case core.Send:
		switch m := e.Message.(type) {
		case *core.Answer:
			for _, it := range m.Items {
				t.answered(p, len(it.Data))
			}
		case *core.Push:
			t.answered(p, len(m.Data))
		case *core.Walk:
			t.step(p, m.Entries)
		case *core.Walked:
			t.step(p, m.Entries)
		}
	}
}

func (t *tally) started(p *process) {
	if level := t.of(p).exchanges.add(t.w.now, 1, startsASecond); level > startsAtOnce+1 {
		t.w.fail("%s starts more than %d exchanges a second (and %d at once)", p.instance, startsASecond, startsAtOnce)
	}
}

func (t *tally) answered(p *process, n int) {
	m := t.of(p)
	if level := m.answered.add(t.w.now, float64(n), bytesASecond); level > bytesAtOnce+float64(2*n) {
		t.w.fail("%s answers more than %d bytes a second (and %d at once, and one state)", p.instance, bytesASecond, bytesAtOnce)
	}
}

// step counts the entries of a step of a walk, which are few, or one.
func (t *tally) step(p *process, entries [][]byte) {
	n := bytesOf(entries)
	t.answered(p, n)
	if len(entries) > 1 && n-bytesOf(entries[len(entries)-1:]) > entriesAtOnce {
		t.w.fail("%s sends %d bytes of entries at once", p.instance, n)
	}
}

// sent counts a frame.
func (t *tally) sent(p *process, f *frame) {
	t.count("frames", 1)
	t.count("bytes", float64(f.size))
	if f.message == nil {
		t.count("updates", float64(len(f.updates)))
		return
	}
	t.count(kindOf(f.message), 1)
	t.count("control", 1)
	if level := t.of(p).frames.add(t.w.now, 1, framesASecond); level > framesAtOnce {
		t.w.fail("%s sends more than %d control frames a second (and %d at once); the last is %s", p.instance, framesASecond, framesAtOnce, describe(f.message))
	}
}

func (t *tally) heard(p *process, f *frame) {
	t.count("deliveries", 1)
	t.count("delivered", float64(f.size))
}

// woken counts a Tick that led to nothing.
func (t *tally) woken(p *process, cause string, effects int) {
	if cause != "Tick" {
		return
	}
	t.count("ticks", 1)
	if effects > 0 {
		return
	}
	if level := t.of(p).ticks.add(t.w.now, 1, ticksASecond); level > ticksAtOnce+float64(len(t.w.live)) {
		t.w.fail("%s wakes up more than %d times a second (and %d at once) for nothing", p.instance, ticksASecond, ticksAtOnce)
	}
}
