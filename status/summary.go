package status

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Summary answers what a person asks first: is all well, who acts, who is missing
// or disagrees, and what to do.
type Summary struct {
	Level string `json:"level"`        // good, warn or bad
	Text  string `json:"text"`         // what is the case, in sentences
	Do    string `json:"do,omitempty"` // what to do about it; empty where nothing is wrong
}

// summarize makes the sentences of one view. act is the verb of what the first
// member does before the others: "sends".
func summarize(v backend.View, i backend.Inspection, gone []absence, act string) Summary {
	switch v.Status {
	case backend.Closed:
		return Summary{"bad", "This node has left the cluster.", "Start it again, if that was not meant."}
	case backend.Detached:
		return cutOff(v, i)
	}
	s := Summary{Level: "good"}
	wrong := func(text, do string) {
		s.Level = "warn"
		s.Text, s.Do = strings.TrimSpace(s.Text+" "+text), strings.TrimSpace(s.Do+" "+do)
	}
	if v.Err != nil {
		wrong(sentence(v.Err.Error()), "")
	}
	if len(v.Disputed) > 0 {
		wrong("The members disagree: "+strings.Join(v.Disputed, "; ")+".", "See that traffic passes both ways between these nodes.")
	}
	for _, a := range gone {
		wrong(fmt.Sprintf("%s is gone since %s.", a.name, clock(a.since)), "")
	}
	if len(gone) > 0 {
		wrong("", "If that was not meant, look at the host and the log of who is gone.")
	}
	for _, other := range i.Strangers {
		wrong(fmt.Sprintf("%s speaks another version of the protocol.", cmp.Or(other.Name, other.Instance)), "Update it, or this node.")
	}
	for _, t := range i.Troubles {
		wrong(sentence(t.What+": "+t.Err.Error()), "See the log, and what the reason names.")
	}
	switch {
	case len(v.Unready) > 0:
		wrong("What the others have of "+strings.Join(v.Unready, ", ")+" did not come within the limit.", "The search goes on; see the log of the others for these states.")
	case v.Ready == backend.TimedOut:
		wrong("The state of the others did not come within the limit.", "The search goes on; see the log of the others.")
	case v.Ready == backend.Settling && s.Level == "good":
		s.Text = "This node waits for the state of the others. "
	}
	if s.Level == "good" && v.Ready != backend.Settling {
		s.Text = "All is well. "
	}
	s.Text = strings.TrimSpace(strings.TrimSpace(s.Text) + " " + first(v, act))
	return s
}

// cutOff says of a detached node what it does by itself, and when.
func cutOff(v backend.View, i backend.Inspection) Summary {
	s := Summary{"bad", fmt.Sprintf("This node is cut off from the others since %s", clock(v.Since)), "Put right what the reason names; the node then comes back by itself. clusterchannel doctor finds where the way to the others ends."}
	if v.Err != nil {
		s.Text += ": " + v.Err.Error()
	}
	s.Text = sentence(s.Text)
	for _, t := range i.Troubles {
		s.Text += " " + sentence(t.What+": "+t.Err.Error())
	}
	hold := i.OnIsolation == backend.HoldView
	switch {
	case v.Isolated && hold:
		s.Text += fmt.Sprintf(" It keeps its last view, of %d, until then.", len(v.Members))
	case v.Isolated:
		s.Text += " It acts alone, as the others may do too."
	case i.Grace == 0:
	case hold:
		s.Text += fmt.Sprintf(" It keeps its last view, of %d, whatever happens.", len(v.Members))
	default:
		s.Text += fmt.Sprintf(" It keeps its last view, of %d, until %s, lets the others go first, and then acts alone.", len(v.Members), clock(v.Since.Add(i.Grace)))
	}
	return s
}

// first says how many there are, and who of them acts before the others.
func first(v backend.View, act string) string {
	if len(v.Members) == 0 {
		return ""
	}
	name := v.Members[0].Name
	if v.Position == 0 {
		name = "this node"
	}
	if len(v.Members) == 1 {
		return "There is one member, this node."
	}
	return fmt.Sprintf("There are %d members; %s %s first.", len(v.Members), name, act)
}

// place says a position in words.
func place(v backend.View, act string) string {
	text := fmt.Sprintf("%d of %d", v.Position, len(v.Members))
	if v.Position == 0 {
		return text + " (" + act + " first)"
	}
	return text + fmt.Sprintf(" (%s after %d other%s)", act, v.Position, plural(v.Position))
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func sentence(text string) string {
	text = strings.TrimSuffix(text, ".")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }
