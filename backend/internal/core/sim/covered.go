package sim

import "github.com/clusterchannel/clusterchannel/backend/internal/core"

// cover counts that an event led to an effect.
func (w *World) cover(cause string, e core.Effect) {
	if cause == "" {
		return
	}
	effect := kindOf(e)
	switch e := e.(type) {
	case core.Note:
		effect = "note " + notes[e.Kind]
	case core.Send:
		effect = "send " + effect
		if a, ok := e.Message.(*core.Answer); ok {
			for _, it := range a.Items {
				w.covered[cause+": "+effect+" "+outcomes[it.Outcome]]++
			}
		}
	}
	w.covered[cause+": "+effect]++
}

func (w *World) coverVerdict(v core.Verdict) { w.covered["Update: "+verdicts[v]]++ }
