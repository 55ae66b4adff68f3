// Package report prints the outcome of a run of the conformance suite: as a
// table for people, as JSON and JUnit for machines, and as Markdown for the
// README of a backend.
package report

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
)

// Formats are the formats of [Write].
var Formats = []string{"table", "json", "junit", "markdown"}

// Write prints r in one of [Formats].
func Write(w io.Writer, format string, r conformance.Report) error {
	switch format {
	case "table":
		return writeTable(w, r)
	case "json":
		return writeJSON(w, r)
	case "junit":
		return writeJUnit(w, r)
	case "markdown":
		return writeMarkdown(w, r)
	}
	return fmt.Errorf("report: no format %q (formats: %s)", format, strings.Join(Formats, ", "))
}

// guarantee is one line of the contract, as CheckInfo.Rule has it.
type guarantee struct{ number, title string }

var ruleLine = regexp.MustCompile(`(?m)^(C\d+) ([^.]+)\.`)

func guarantees(c conformance.CheckInfo) []guarantee {
	var all []guarantee
	for _, m := range ruleLine.FindAllStringSubmatch(c.Rule, -1) {
		all = append(all, guarantee{m[1], m[2]})
	}
	return all
}

// numbers returns the numbers of the guarantees that c defends.
func numbers(c conformance.CheckInfo) []string {
	var all []string
	for _, g := range guarantees(c) {
		all = append(all, g.number)
	}
	return all
}

// title names the run: "nats at 127.0.0.1:4222".
func title(r conformance.Report) string {
	if r.Server == "" {
		return r.Backend
	}
	return r.Backend + " at " + r.Server
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
