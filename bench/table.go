package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// aim is what a row is meant to reach; a zero is no aim.
type aim struct {
	row       string
	faster    float64 // than Alertmanager, by this factor at least
	below     string  // this time
	ofTheBare float64 // no more than this multiple of the bare send
}

var aims = []aim{
	{row: rowP50, faster: 200, ofTheBare: 1.5},
	{row: rowP99, faster: 50},
	{row: rowBurst, below: "< 1s"},
	{row: rowLarge, faster: 5},
	{row: rowJoin, below: "< 1s"},
	{row: rowCrash, below: "< 3s"},
	{row: rowCPU, faster: 1},
	{row: rowBytes, faster: 1},
}

// table prints rows as they come.
type table struct {
	w        io.Writer
	markdown bool
	headed   bool
}

func newTable(w io.Writer, markdown bool) *table { return &table{w: w, markdown: markdown} }

// add prints what was measured with n nodes.
func (t *table) add(n int, cells map[kind]map[string]cell) error {
	var rows [][]string
	if !t.headed {
		t.headed = true
		rows = append(rows, []string{"nodes", "measured", "Alertmanager", "clusterchannel", "ratio", "aim", "bare memberlist", "ratio", "aim"})
		if t.markdown {
			rows = append(rows, strings.Split(strings.Repeat("---|", 8)+"---", "|"))
		}
	}
	for _, a := range aims {
		theirs, ours := cells[alertmanagerKind][a.row], cells[channelKind][a.row]
		row := []string{fmt.Sprint(n), a.row, theirs.Text, ours.Text, ratio(theirs, ours), a.below, "", "", ""}
		if a.faster > 0 {
			row[5] = fmt.Sprintf(">= %gx", a.faster)
		}
		if bare, ok := cells[bareKind][a.row]; ok {
			row[6], row[7] = bare.Text, ratio(ours, bare)
		}
		if a.ofTheBare > 0 {
			row[8] = fmt.Sprintf("<= %gx", a.ofTheBare)
		}
		rows = append(rows, row)
	}
	if t.markdown {
		for _, row := range rows {
			if _, err := fmt.Fprintf(t.w, "| %s |\n", strings.Join(row, " | ")); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(t.w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

func ratio(a, b cell) string {
	if b.Value == 0 || b.AtLeast {
		return ""
	}
	r := a.Value / b.Value
	text := fmt.Sprintf("%.0fx", r)
	if r < 10 {
		text = fmt.Sprintf("%.1fx", r)
	}
	if a.AtLeast {
		text = "> " + text
	}
	return text
}
