package command

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// examination is the whole report. No field holds a secret.
type examination struct {
	Backend string           `json:"backend"`
	Cluster string           `json:"cluster"`
	Node    string           `json:"node"`
	Well    bool             `json:"well"`
	Steps   []driver.Finding `json:"steps"`
}

func newReport(config backend.Config, steps []driver.Finding) examination {
	r := examination{Backend: config.Backend, Cluster: config.Cluster, Node: config.Name, Steps: append([]driver.Finding{}, steps...)}
	for i := range r.Steps {
		f := &r.Steps[i]
		f.Tried, f.Got, f.Fix = oneLine(f.Tried), oneLine(f.Got), oneLine(f.Fix)
	}
	r.Well = r.failed() == ""
	return r
}

// oneLine keeps a text of a server on its line.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.TrimSpace(text))
}

// failed returns the names of the steps that failed.
func (r examination) failed() string {
	names := map[string]bool{}
	for _, s := range r.Steps {
		if s.Status == driver.Fail {
			names[s.Name] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// print shows the report to people.
func (r examination) print(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%-4s  %s: %s\n      %s\n", s.Status, s.Name, s.Tried, s.Got)
		if s.Fix != "" {
			fmt.Fprintf(&b, "      fix: %s\n", s.Fix)
		}
	}
	verdict := "All is well."
	if !r.Well {
		verdict = "Something is wrong: " + r.failed() + "."
	}
	fmt.Fprintf(&b, "\n%s\n", verdict)
	_, err := io.WriteString(w, b.String())
	return err
}
