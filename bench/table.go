package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// grid is the lines of a table, its head first.
type grid [][]string

// head returns the head of a comparison.
func (s suite) head() []string {
	head := []string{"nodes", "measured"}
	if former, ok := s.contenders[formerRole]; ok {
		return append(head, former.title, s.contenders[ourRole].title, "ratio")
	}
	if theirs, ok := s.contenders[theirRole]; ok {
		head = append(head, theirs.title, s.contenders[ourRole].title, "ratio", "aim")
	} else {
		head = append(head, s.contenders[ourRole].title, "aim")
	}
	return append(head, s.contenders[rawRole].title, "ratio", "aim")
}

// lines returns the results with n nodes.
func (s suite) lines(n int, found map[role]cells) (g grid) {
	_, compared := s.contenders[theirRole]
	for _, a := range s.rows {
		theirs, our := found[theirRole][a.row], found[ourRole][a.row]
		line := []string{fmt.Sprint(n), a.row}
		if _, ok := s.contenders[formerRole]; ok {
			former := found[formerRole][a.row]
			g = append(g, append(line, former.Text, our.Text, ratio(former, our)))
			continue
		}
		if compared {
			line = append(line, theirs.Text, our.Text, ratio(theirs, our), a.ofTheirs())
		} else {
			line = append(line, our.Text, a.below)
		}
		raw, ok := found[rawRole][a.row]
		switch {
		case !ok:
			line = append(line, "", "", "")
		case a.throughput > 0:
			line = append(line, raw.Text, ratio(raw, our), a.ofRaw())
		default:
			line = append(line, raw.Text, ratio(our, raw), a.ofRaw())
		}
		g = append(g, line)
	}
	return g
}

func (a aim) ofTheirs() string {
	if a.faster > 0 {
		return fmt.Sprintf(">= %gx", a.faster)
	}
	return a.below
}

func (a aim) ofRaw() string {
	switch {
	case a.throughput > 0:
		return fmt.Sprintf(">= %gx the throughput", a.throughput)
	case a.ofTheRaw > 0:
		return fmt.Sprintf("<= %gx", a.ofTheRaw)
	}
	return ""
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

// print writes g with columns in line.
func (g grid) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, line := range g {
		if _, err := fmt.Fprintln(w, strings.Join(line, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}
