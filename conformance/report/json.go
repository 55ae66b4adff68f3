package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
)

// document is the JSON of a report. Times are in seconds.
type document struct {
	Backend string    `json:"backend"`
	Server  string    `json:"server,omitempty"`
	Started time.Time `json:"started"`
	Took    float64   `json:"took"`
	Summary summary   `json:"summary"`
	Checks  []check   `json:"checks"`
	Budgets []budget  `json:"budgets"`
	Scale   float64   `json:"scale"` // of the limits of the budgets

	NotChecked []string `json:"not_checked,omitempty"` // what the suite cannot see
}

// summary counts the checks.
type summary struct {
	Checks    int `json:"checks"`
	Passed    int `json:"passed"`
	Waived    int `json:"waived"`
	Failed    int `json:"failed"`
	NotRun    int `json:"not_run"`
	NotJudged int `json:"not_judged"`
}

// check is the outcome of one check.
type check struct {
	Name       string   `json:"name"`
	Level      string   `json:"level"`            // basic, fault
	Guarantees []string `json:"guarantees"`       // C1, C2
	Outcome    string   `json:"outcome"`          // passed, failed, waived, not run, not judged
	Reason     string   `json:"reason,omitempty"` // of waived, not run and not judged
	Took       float64  `json:"took"`
	Output     string   `json:"output,omitempty"`
}

// budget is one time limit, and the worst time that was measured.
type budget struct {
	Name      string  `json:"name"`
	Limit     float64 `json:"limit"`
	Stretched float64 `json:"stretched"` // by how much at most: time in which the process did not run is not counted
	Worst     float64 `json:"worst"`
	Times     int     `json:"times"` // it was measured
}

func writeJSON(w io.Writer, r conformance.Report) error {
	n := r.Count()
	d := document{
		Backend: r.Backend, Server: r.Server, Started: r.Started, Took: seconds(r.Took), Scale: r.Scale,
		Summary: summary{
			Checks: len(r.Results), Passed: n[conformance.Passed], Waived: n[conformance.Waived],
			Failed: n[conformance.Failed], NotRun: n[conformance.NotRun], NotJudged: n[conformance.NotJudged],
		},
		Checks: []check{}, Budgets: []budget{}, NotChecked: r.NotChecked,
	}
	for _, c := range r.Results {
		d.Checks = append(d.Checks, check{
			Name: c.Name, Level: c.Level, Guarantees: numbers(c.CheckInfo), Outcome: c.Outcome.String(),
			Reason: c.Reason, Took: seconds(c.Took), Output: c.Output,
		})
	}
	for _, b := range r.Budgets {
		d.Budgets = append(d.Budgets, budget{Name: b.Name, Limit: seconds(b.Limit), Worst: seconds(b.Worst), Stretched: seconds(b.Stretched), Times: b.Times})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}
