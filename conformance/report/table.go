package report

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
)

func writeTable(w io.Writer, r conformance.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", title(r))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CHECK\tLEVEL\tOUTCOME\tTIME\tDEFENDS\t")
	for _, c := range r.Results {
		outcome := c.Outcome.String()
		if c.Outcome == conformance.Failed {
			outcome = "FAILED"
		}
		took := ""
		if c.Took > 0 {
			took = c.Took.Round(10 * time.Millisecond).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.Level, outcome, took, strings.Join(numbers(c.CheckInfo), " "), c.Reason)
	}
	_ = t.Flush() // to memory
	fmt.Fprintln(t, "\nBUDGET\tLIMIT\tSTRETCHED\tWORST\tTIMES")
	for _, l := range r.Budgets {
		fmt.Fprintf(t, "%s\t%v\t%v\t%v\t%d\n", l.Name, l.Limit, l.Stretched.Round(time.Millisecond), l.Worst.Round(time.Millisecond), l.Times)
	}
	_ = t.Flush()
	for _, c := range r.Results {
		switch c.Outcome {
		case conformance.Failed:
			fmt.Fprintf(&b, "\n%s FAILED\n%s", c.Name, indent(c.Output))
		case conformance.NotJudged:
			fmt.Fprintf(&b, "\n%s was not judged\n%s", c.Name, indent(c.Output))
		}
	}
	fmt.Fprintf(&b, "\n%s in %v\n", r.Summary(), r.Took.Round(100*time.Millisecond))
	if text := r.Unjudged(); text != "" {
		fmt.Fprintln(&b, text)
	}
	if len(r.NotChecked) > 0 {
		b.WriteString("\nnot checked:\n" + indent(strings.Join(r.NotChecked, "\n")))
	}
	_, err := io.WriteString(w, trailing.ReplaceAllString(b.String(), ""))
	return err
}

// trailing is the white space that the table writer leaves after empty cells.
var trailing = regexp.MustCompile(`(?m) +$`)

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}
