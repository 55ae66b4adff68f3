package sim

import "github.com/clusterchannel/clusterchannel/backend/internal/core"

// transition is that an event led to an effect.
type transition struct{ cause, verb, effect, outcome string }

func (t transition) String() string { return t.cause + ": " + t.verb + t.effect + t.outcome }

// cover counts that an event led to an effect.
func (w *World) cover(cause string, e core.Effect) {
	if cause == "" {
		return
	}
	t := transition{cause: cause}
	switch e := e.(type) {
	case core.Note:
		t.verb, t.effect = "note ", notes[e.Kind]
	case core.Send:
		t.verb, t.effect = "send ", kindOf(e.Message)
		if a, ok := e.Message.(*core.Answer); ok {
			for _, it := range a.Items {
				w.covered[transition{cause, t.verb, t.effect, " " + outcomes[it.Outcome]}]++
			}
		}
	default:
		t.effect = kindOf(e)
	}
	w.covered[t]++
}

func (w *World) coverVerdict(v core.Verdict) {
	w.covered[transition{cause: "Update", effect: verdicts[v]}]++
}

// transitions returns how often each was taken, by what it is called.
func (w *World) transitions() map[string]int {
	all := make(map[string]int, len(w.covered))
	for t, n := range w.covered {
		all[t.String()] = n
	}
	return all
}
