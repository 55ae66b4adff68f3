package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
)

// writeMarkdown prints what a README shows: which guarantees hold, the times,
// and all that did not pass.
func writeMarkdown(w io.Writer, r conformance.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### Conformance of `%s`\n\n%s, on %s.\n\n", r.Backend, r.Summary(), r.Started.UTC().Format(time.DateOnly))
	b.WriteString("| guarantee | | holds | checks |\n|---|---|---|---|\n")
	for _, row := range guaranteeRows(r) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", row.number, row.title, row.holds(), row.checks())
	}
	b.WriteString("\n| budget | limit | worst |\n|---|---|---|\n")
	for _, l := range r.Budgets {
		worst := "not measured"
		if l.Times > 0 {
			worst = l.Worst.Round(time.Millisecond).String()
		}
		fmt.Fprintf(&b, "| %s | %v | %s |\n", l.Name, l.Limit, worst)
	}
	if exceptions := exceptions(r); exceptions != "" {
		b.WriteString("\n| check | outcome | |\n|---|---|---|\n" + exceptions)
	}
	if len(r.NotChecked) > 0 {
		b.WriteString("\nNot checked:\n\n- " + strings.Join(r.NotChecked, "\n- ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// guaranteeRow is a line of the contract and the outcomes of its checks.
type guaranteeRow struct {
	guarantee
	n map[conformance.Outcome]int
}

func guaranteeRows(r conformance.Report) []guaranteeRow {
	var rows []guaranteeRow
	for _, c := range r.Results {
		for _, g := range guarantees(c.CheckInfo) {
			i := slices.IndexFunc(rows, func(row guaranteeRow) bool { return row.guarantee == g })
			if i < 0 {
				i = len(rows)
				rows = append(rows, guaranteeRow{g, map[conformance.Outcome]int{}})
			}
			rows[i].n[c.Outcome]++
		}
	}
	slices.SortFunc(rows, func(a, b guaranteeRow) int { return cmp.Compare(a.order(), b.order()) })
	return rows
}

func (g guaranteeRow) order() int {
	n, _ := strconv.Atoi(strings.TrimPrefix(g.number, "C")) // ruleLine has matched it
	return n
}

// holds says what the checks have shown: a check that was waived, not run or not
// judged shows nothing.
func (g guaranteeRow) holds() string {
	rest := g.n[conformance.Waived] + g.n[conformance.NotRun] + g.n[conformance.NotJudged]
	switch {
	case g.n[conformance.Failed] > 0:
		return "**no**"
	case g.n[conformance.Passed] == 0:
		return "not shown"
	case rest > 0:
		return "as far as shown"
	}
	return "yes"
}

func (g guaranteeRow) checks() string {
	var parts []string
	for _, o := range []conformance.Outcome{conformance.Passed, conformance.Failed, conformance.NotJudged, conformance.Waived, conformance.NotRun} {
		if g.n[o] > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", g.n[o], o))
		}
	}
	return strings.Join(parts, ", ")
}

// exceptions are the rows of all that did not pass.
func exceptions(r conformance.Report) string {
	var b strings.Builder
	for _, c := range r.Results {
		if c.Outcome == conformance.Passed {
			continue
		}
		first, _, _ := strings.Cut(c.Output, "\n")
		why := strings.NewReplacer("|", `\|`, "\n", " ").Replace(cmp.Or(c.Reason, first))
		fmt.Fprintf(&b, "| `%s` | %v | %s |\n", c.Name, c.Outcome, why)
	}
	return b.String()
}
