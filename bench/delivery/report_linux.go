package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/bench/internal/docs"
)

// report prints the table, and writes it to the docs if asked, with the runs.
func (o options) report(chosen []fault, contenders []system, runs []outcome) error {
	if err := docs.Publish(o.write, "delivery", o.command, table(chosen, contenders, runs)); err != nil || o.write == "" {
		return err
	}
	return keepRuns(filepath.Join(o.write, "bench", "delivery.jsonl"), runs)
}

// table is in Markdown: a row for each fault, a column for each system.
func table(chosen []fault, contenders []system, runs []outcome) string {
	lines := [][]string{{"fault"}}
	for _, s := range contenders {
		lines[0] = append(lines[0], s.title())
	}
	for _, f := range chosen {
		line := []string{f.title}
		for _, s := range contenders {
			line = append(line, cell(slices.DeleteFunc(slices.Clone(runs), func(o outcome) bool { return o.Fault != f.name || o.System != s.name })))
		}
		lines = append(lines, line)
	}
	return docs.Table(lines)
}

// keepRuns writes a line for each run, without what each alert met.
func keepRuns(path string, runs []outcome) error {
	var b strings.Builder
	for _, run := range runs {
		run.Each = nil
		line, err := json.Marshal(run)
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
